//! Keys and the ledger, in a node that has tenants. No series is a key's or a tenant's: what they use, the ledger tells.

use std::fmt;

use super::Sheet;
use crate::control::{TenantFigures, View};

/// A gauge's name, what it says, and where it is read.
type Figure = (&'static str, &'static str, fn(&TenantFigures) -> u64);

const FIGURES: [Figure; 6] = [
    ("keys", "Keys that there are, expired ones and the latest changes included", |figures| figures.keys.get()),
    ("active_keys", "Keys in use", |figures| figures.active_keys.get()),
    ("active_strangers", "Client addresses in use without a key", |figures| figures.active_strangers.get()),
    ("usage_rows_waiting", "Rows of usage that are not known to be in the ledger", |figures| {
        figures.rows_waiting.get()
    }),
    ("ledger_up", "Whether the ledger answers", |figures| figures.ledger_up.get()),
    ("fleet_up", "Whether the store that a fleet shares answers; 1 without one", |figures| figures.fleet_up.get()),
];

impl Sheet<'_> {
    pub(super) fn tenants(&mut self, view: &View) -> fmt::Result {
        if view.snapshot().config.tenants.is_none() {
            return Ok(());
        }
        for (name, help, read) in FIGURES {
            self.gauge(name, help, None, [(Vec::new(), read(&view.tenants))])?;
        }
        Ok(())
    }
}
