//! `livechain key`.

use super::rules::{Lifts, RuleFlags, doubts};
use super::told::{self, Format, Told};
use super::{Books, Trouble};
use crate::desk::keys::{self, KeyChangeOrder, KeyDocument, KeyList, KeyOrder, KeysAsked, MadeKey, RotateOrder};
use crate::desk::sheet::{self, Sheet};

/// What is done with keys.
#[derive(Debug, clap::Subcommand)]
pub enum KeyTask {
    /// Make one. Its text is shown this once, alone on a line of standard output.
    Create {
        /// Whose it is.
        #[arg(long)]
        tenant: String,
        /// What it may use.
        #[arg(long)]
        plan: String,
        /// Your own words.
        #[arg(long, default_value = "")]
        label: String,
        /// When it ends: a span (90d), a day (2027-01-31), a moment (RFC 3339), or never.
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        rules: RuleFlags,
    },
    /// List keys by id, page by page.
    List {
        /// Of one tenant alone.
        #[arg(long)]
        tenant: Option<String>,
        /// The last id of the page before.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// How many on a page; 1000 at most, and by default.
        #[arg(long, value_name = "N")]
        most: Option<usize>,
        /// Revoked ones, too.
        #[arg(long)]
        revoked: bool,
    },
    /// Show one, without its text, which nobody has.
    Show { id: String },
    /// Change what is named; what is not named stays.
    Change {
        id: String,
        #[arg(long)]
        plan: Option<String>,
        #[arg(long)]
        label: Option<String>,
        /// When it ends: a span (90d), a day (2027-01-31), a moment (RFC 3339), or never.
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        rules: RuleFlags,
        #[command(flatten)]
        lifts: Lifts,
    },
    /// End one for ever, within a second on every node.
    Revoke { id: String },
    /// Make one like it; the old one goes on for a while.
    Rotate {
        id: String,
        /// For how long: 0s, 12h, 30d; a day by default.
        #[arg(long, value_name = "SPAN")]
        grace: Option<String>,
    },
}

impl KeyTask {
    pub(super) fn run(self, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
        match self {
            Self::Create { tenant, plan, label, expires, rules } => {
                create(KeyOrder { tenant, plan, label, expires, rules: rules.rules() }, books, format)
            }
            Self::List { tenant, after, most, revoked } => {
                let wanted = KeysAsked { tenant, after, most, revoked }.check()?;
                let list = keys::list(&mut books.open()?, &wanted, books.now_s)?;
                let aside = list.next.iter().map(|next| format!("livechain: there are more: --after {next}\n"));
                Ok(Told { aside: aside.collect(), ..told::list(format, &list, || rows(&list)) })
            }
            Self::Show { id } => {
                let id = keys::id(&id)?;
                Ok(told::one(format, &keys::show(&mut books.open()?, id, books.now_s)?))
            }
            Self::Change { id, plan, label, expires, rules, lifts } => {
                let order = KeyChangeOrder { plan, label, expires: expires.map(Some), rules: None };
                change(&id, order, rules, &lifts, books, format)
            }
            Self::Revoke { id } => {
                let id = keys::id(&id)?;
                Ok(told::one(format, &keys::revoke(&mut books.open()?, id, books.now_s)?))
            }
            Self::Rotate { id, grace } => rotate(&id, &RotateOrder { grace }, books, format),
        }
    }
}

fn create(order: KeyOrder, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
    let doubts = doubts(&order.rules, &books.chains);
    let terms = order.check(books.now_s)?;
    let (key, name) = keys::make(&books.pepper)?;
    let document = keys::create(&mut books.open()?, terms, name, books.now_s)?;
    let told = made(&MadeKey { key, document, old: None }, format);
    Ok(Told { aside: doubts + &told.aside, ..told })
}

fn rotate(old: &str, order: &RotateOrder, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
    let (old, grace_s) = (keys::id(old)?, order.check()?);
    let (key, name) = keys::make(&books.pepper)?;
    let (document, old) = keys::rotate(&mut books.open()?, old, name, grace_s, books.now_s)?;
    Ok(made(&MadeKey { key, document, old: Some(old) }, format))
}

/// Rules are read, changed and stored whole: of two operators at the same key in the same moment the second one's hold.
fn change(
    id: &str,
    mut order: KeyChangeOrder,
    flags: RuleFlags,
    lifts: &Lifts,
    books: &Books<'_>,
    format: Format,
) -> Result<Told, Trouble> {
    let id = keys::id(id)?;
    let ruled = !(flags.is_empty() && lifts.is_empty());
    // Checked before the store is opened, and again with the rules.
    if !ruled {
        order.clone().check(books.now_s)?;
    }
    let mut store = books.open()?;
    if ruled {
        let mut rules = keys::show(&mut store, id, books.now_s)?.rules.map(|rules| *rules).unwrap_or_default();
        lifts.take(&mut rules);
        flags.put(&mut rules);
        order.rules = Some(Some(rules));
    }
    let document = keys::change(&mut store, id, order.check(books.now_s)?, books.now_s)?;
    let aside = document.rules.as_deref().map_or_else(String::new, |rules| doubts(rules, &books.chains));
    Ok(Told { aside, ..told::one(format, &document) })
}

/// The key alone on standard output, or in its field.
fn made(made: &MadeKey, format: Format) -> Told {
    match format {
        Format::Json => Told { out: sheet::json(made), aside: String::new() },
        Format::Table => {
            let MadeKey { key, document, old } = made;
            let old = old.iter().map(|old| format!("instead of\n{}", sheet::fields(old)));
            let about = format!("{}{}", sheet::fields(document), old.collect::<String>());
            Told { out: format!("{}\n", key.expose()), aside: about + "the key itself, which is shown this once:\n" }
        }
    }
}

fn rows(list: &KeyList) -> Sheet {
    let mut sheet = Sheet::new(["id", "tenant", "plan", "state", "created", "expires", "label"]);
    for KeyDocument { id, tenant, plan, label, state, created, expires, .. } in &list.keys {
        let expires = expires.clone().unwrap_or_default();
        let row: [&str; 7] = [id, tenant, plan, state, created, &expires, label];
        sheet.row(row.map(str::to_owned));
    }
    sheet
}
