//! The thread that asks the store on others' behalf: with a connection of its own, so that a long report keeps neither
//! usage nor revocations waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::turn::open;
use super::{Order, Question};
use crate::ledger::address::StoreAddress;
use crate::ledger::error::StoreError;
use crate::ledger::store::Store;
use crate::limits::{LEDGER_ASKED_REST, LEDGER_ASKED_SPARE};

/// Answers until nobody can ask any more; tells the thread that writes to look, as there may be a change.
pub(super) fn run(address: &StoreAddress, questions: &Receiver<Box<Question>>, orders: &SyncSender<Order>) {
    let mut store = None;
    let mut failed: Option<(Instant, StoreError)> = None;
    loop {
        match questions.recv_timeout(if store.is_some() { LEDGER_ASKED_SPARE } else { Duration::MAX }) {
            Ok(question) => {
                failed = failed.filter(|(when, _)| when.elapsed() < LEDGER_ASKED_REST);
                answer(address, question, &mut store, &mut failed);
                // Where there is no room, it is at work, and looks soon.
                let _ = orders.try_send(Order::Look);
            }
            Err(RecvTimeoutError::Timeout) => store = None,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn answer(
    address: &StoreAddress,
    question: Box<Question>,
    store: &mut Option<Store>,
    failed: &mut Option<(Instant, StoreError)>,
) {
    if let Some((_, why)) = failed {
        question(Err(why.clone()));
        return;
    }
    let opened = match open(store, address) {
        Ok(opened) => opened,
        Err(error) => {
            *failed = Some((Instant::now(), error.clone()));
            question(Err(error));
            return;
        }
    };
    // One that panics gives no answer; what it left of the connection, nobody knows.
    let fine = catch_unwind(AssertUnwindSafe(|| question(Ok(opened)))).unwrap_or(false);
    if !fine {
        *store = None;
    }
}
