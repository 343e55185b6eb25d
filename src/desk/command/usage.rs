//! `livechain usage`.

use clap::ValueEnum;

use super::told::Told;
use super::{Books, Trouble};
use crate::desk::sheet;
use crate::desk::usage::{self, By, UsageDocument, UsageOrder};

/// Which usage, and how it is written. Windows begin with `from` and end before `to`.
#[derive(Debug, clap::Args)]
pub struct UsageFlags {
    /// Of one tenant alone.
    #[arg(long)]
    tenant: Option<String>,
    /// Of one key alone, by its id.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// A day (2027-01-01) or a moment (RFC 3339), UTC; by default when the month began in which the window ends.
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// The first day or moment that is not counted; by default the end of this month.
    #[arg(long, value_name = "WHEN")]
    to: Option<String>,
    /// By what it is summed.
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    format: UsageFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum UsageFormat {
    /// For people, with a line of totals.
    #[default]
    Table,
    /// For spreadsheets, without one.
    Csv,
    /// As the admin API writes it.
    Json,
}

impl UsageFlags {
    pub(super) fn run(self, books: &Books<'_>) -> Result<Told, Trouble> {
        let Self { tenant, key, from, to, by, format } = self;
        let wanted = UsageOrder { tenant, key, from, to, by }.check(books.now_s)?;
        let document = usage::read(&mut books.open()?, wanted)?;
        Ok(shown(&document, format))
    }
}

fn shown(document: &UsageDocument, format: UsageFormat) -> Told {
    match format {
        UsageFormat::Csv => Told { out: document.sheet().csv(), aside: String::new() },
        UsageFormat::Json => Told { out: sheet::json(document), aside: String::new() },
        UsageFormat::Table => {
            let mut sheet = document.sheet();
            sheet.row(usage::row("total", &document.total));
            let aside = format!("from {} to, and without, {}\n", document.from, document.to);
            Told { out: sheet.table(), aside }
        }
    }
}
