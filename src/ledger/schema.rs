//! The schema, as the migrations that lead to it, and how a store is brought up to it.
//!
//! Each migration is one transaction that also notes its number: a store has one version or the next, whatever happens
//! in between. Whoever comes second waits, and finds it done. A store of a newer version is left alone, as this program
//! does not know what its rows mean. A migration is never changed once it is released: the next one is added.
//!
//! The scripts are in SQLite's words; PostgreSQL's are made of them.

use super::engine::{Begin, Engine};
use super::error::StoreError;

/// The first leads from nothing to version 1.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// Brings a store up to the last of `migrations`.
pub(super) fn migrate(engine: &mut dyn Engine, migrations: &[&str]) -> Result<(), StoreError> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    for (number, script) in (1..).zip(migrations) {
        refuse_newer(engine.version()?, known)?;
        // Begun even where there is nothing to do: the engine is set up with it.
        engine.begin(Begin::Migrate)?;
        let done = step(engine, script, number).and_then(|()| engine.commit());
        if let Err(why) = done {
            engine.rollback();
            return Err(if why.passes() { why } else { StoreError::Migration { number, why: why.to_string() } });
        }
    }
    refuse_newer(engine.version()?, known)
}

fn step(engine: &mut dyn Engine, script: &str, number: u32) -> Result<(), StoreError> {
    if engine.version()? >= number { Ok(()) } else { engine.migrate(script, number) }
}

const fn refuse_newer(found: u32, known: u32) -> Result<(), StoreError> {
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(()) }
}

/// A script in PostgreSQL's words.
pub(super) fn for_postgres(script: &str) -> String {
    script
        .replace(" STRICT, WITHOUT ROWID;", ";")
        .replace(" STRICT;", ";")
        .replace("INTEGER", "BIGINT")
        .replace("BLOB", "BYTEA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_one_engine_alone_is_left_for_the_other() {
        for script in MIGRATIONS {
            let script = for_postgres(script);
            for word in ["STRICT", "ROWID", "INTEGER", "BLOB", "PRAGMA", "AUTOINCREMENT"] {
                assert!(!script.contains(word), "{word}");
            }
        }
    }
}
