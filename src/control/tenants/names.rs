//! Names of the numbers in usage: chains and providers as they were called when they had that number.

use std::collections::HashMap;
use std::sync::Arc;

use crate::link::Snapshot;

/// Numbers are never used again, and usage may wait for the ledger for long: so no name is forgotten. It is some dozen
/// bytes for each provider that a reload brings.
#[derive(Debug, Default)]
pub(super) struct UsageNames {
    chains: HashMap<u32, Arc<str>>,
    providers: HashMap<u32, Arc<str>>,
}

impl UsageNames {
    /// Hears of the names of `snapshot`.
    pub(super) fn learn(&mut self, snapshot: &Snapshot) {
        for chain in &snapshot.chains {
            self.chains.entry(chain.number).or_insert_with(|| Arc::clone(&chain.name));
            for provider in &chain.providers {
                if let Ok(number) = u32::try_from(provider.slot.number) {
                    self.providers.entry(number).or_insert_with(|| Arc::clone(&provider.slot.id));
                }
            }
        }
    }

    /// Empty for none.
    pub(super) fn chain(&self, number: u32) -> Arc<str> {
        self.chains.get(&number).cloned().unwrap_or_default()
    }

    /// Empty for none.
    pub(super) fn provider(&self, number: u32) -> Arc<str> {
        self.providers.get(&number).cloned().unwrap_or_default()
    }
}
