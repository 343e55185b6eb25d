//! `livechain tenant`.

use super::told::{self, Format, Told};
use super::{Books, Trouble};
use crate::desk::sheet::Sheet;
use crate::desk::tenants::{self, NewTenant, TenantList, TenantOrder};

/// What is done with tenants.
#[derive(Debug, clap::Subcommand)]
pub enum TenantTask {
    /// Make one.
    Create {
        name: String,
        /// Your own words, such as a customer's number.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List all of them by name.
    List,
    /// Show one.
    Show { name: String },
    /// Give one another name; its keys and usage stay its own.
    Rename { name: String, new: String },
    /// Write another note.
    Note { name: String, note: String },
}

impl TenantTask {
    pub(super) fn run(self, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
        let change = |name: String, order: TenantOrder| {
            let change = order.check()?;
            Ok(told::one(format, &tenants::change(&mut books.open()?, &name, &change)?))
        };
        match self {
            Self::Create { name, note } => {
                let new = NewTenant { name, note };
                Ok(told::one(format, &tenants::create(&mut books.open()?, &new, books.now_s)?))
            }
            Self::List => {
                let list = tenants::list(&mut books.open()?, None, usize::MAX)?;
                Ok(told::list(format, &list, || rows(&list)))
            }
            Self::Show { name } => Ok(told::one(format, &tenants::show(&mut books.open()?, &name)?)),
            Self::Rename { name, new } => change(name, TenantOrder { name: Some(new), note: None }),
            Self::Note { name, note } => change(name, TenantOrder { name: None, note: Some(note) }),
        }
    }
}

fn rows(list: &TenantList) -> Sheet {
    let mut sheet = Sheet::new(["id", "name", "created", "note"]);
    for tenant in &list.tenants {
        sheet.row([tenant.id.to_string(), tenant.name.clone(), tenant.created.clone(), tenant.note.clone()]);
    }
    sheet
}
