//! What a task has to say, in the form that is asked for.

use clap::ValueEnum;
use serde::Serialize;

use crate::desk::sheet::{Sheet, fields, json};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// As the admin API writes it.
    Json,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// For standard output.
    pub(super) out: String,
    /// For standard error.
    pub(super) aside: String,
}

/// A list of documents.
pub(super) fn list(format: Format, document: &impl Serialize, sheet: impl FnOnce() -> Sheet) -> Told {
    let out = match format {
        Format::Table => sheet().table(),
        Format::Json => json(document),
    };
    Told { out, aside: String::new() }
}

/// One document.
pub(super) fn one(format: Format, document: &impl Serialize) -> Told {
    let out = match format {
        Format::Table => fields(document),
        Format::Json => json(document),
    };
    Told { out, aside: String::new() }
}
