//! Holds what a client was told against the chain: each block and log once, in order, and what is gone taken back.

use std::fmt::Debug;

use super::growing::{Block, Log};
use super::watcher::Told;

/// Differences that are told of one stream: the first few say what is wrong.
const SHOWN: usize = 4;

/// What is wrong with a stream from a chain that only grew: it is the chain's blocks and logs, and nothing else.
pub fn grown(told: &Told, blocks: &[Block], logs: &[Log]) -> Vec<String> {
    let mut wrong = others(told);
    wrong.extend(differences("heads", &told.heads, blocks));
    let removed = told.logs.iter().filter(|(_, removed)| *removed).map(|(log, _)| format!("taken back: {log:?}"));
    wrong.extend(removed.take(SHOWN));
    let added: Vec<Log> = told.logs.iter().map(|(log, _)| log.clone()).collect();
    wrong.extend(differences("logs", &added, logs));
    wrong
}

/// What is wrong with a stream from a chain that was reorganised: applied, it is the chain as it is in the end, after `root`;
/// and `taken` are the logs that were taken back, in whatever order.
pub fn reorganised(told: &Told, root: &Block, blocks: &[Block], logs: &[Log], taken: &[Log]) -> Vec<String> {
    let mut wrong = others(told);
    let (held, stray) = apply_heads(&told.heads, root);
    wrong.extend(stray.into_iter().take(SHOWN));
    wrong.extend(differences("heads, applied", &held, blocks));
    let (held, removed, stray) = apply_logs(&told.logs);
    wrong.extend(stray.into_iter().take(SHOWN));
    wrong.extend(differences("logs, applied", &held, logs));
    let (mut removed, mut taken) = (removed, taken.to_vec());
    removed.sort();
    taken.sort();
    wrong.extend(differences("logs taken back", &removed, &taken));
    wrong
}

fn others(told: &Told) -> Vec<String> {
    let mut wrong: Vec<String> = told.wrong.iter().take(SHOWN).cloned().collect();
    if told.calls.is_none_or(|calls| calls == 0) {
        wrong.push("no calls".to_owned());
    }
    wrong
}

/// A head stands on its parent, and whatever stood there before is gone.
fn apply_heads(heads: &[Block], root: &Block) -> (Vec<Block>, Vec<String>) {
    let (mut held, mut stray) = (vec![root.clone()], Vec::new());
    for head in heads {
        match held.iter().rposition(|block| block.hash == head.parent) {
            Some(parent) if held[parent].number + 1 == head.number => held.truncate(parent + 1),
            _ => stray.push(format!("not on what was told: {head:?}")),
        }
        if held.last().is_some_and(|last| last.hash == head.parent) {
            held.push(head.clone());
        }
    }
    held.remove(0);
    (held, stray)
}

/// What is held, what was taken back, and what was told twice or taken back without having been told.
fn apply_logs(logs: &[(Log, bool)]) -> (Vec<Log>, Vec<Log>, Vec<String>) {
    let (mut held, mut taken, mut stray) = (Vec::new(), Vec::new(), Vec::new());
    for (log, removed) in logs {
        match (held.iter().position(|one| one == log), removed) {
            (None, false) => held.push(log.clone()),
            (Some(at), true) => {
                held.remove(at);
                taken.push(log.clone());
            }
            (Some(_), false) => stray.push(format!("told twice: {log:?}")),
            (None, true) => stray.push(format!("taken back, but not held: {log:?}")),
        }
    }
    (held, taken, stray)
}

/// Where two lists differ, the first few places.
pub fn differences<T: PartialEq + Debug>(what: &str, told: &[T], truth: &[T]) -> Vec<String> {
    if told == truth {
        return Vec::new();
    }
    let missing: Vec<_> = truth.iter().filter(|one| !told.contains(one)).collect();
    let foreign: Vec<_> = told.iter().filter(|one| !truth.contains(one)).collect();
    let again: Vec<_> =
        told.iter().enumerate().filter(|(at, one)| told[..*at].contains(one)).map(|(_, one)| one).collect();
    let mut found = vec![format!("{what}: {} told, {} in the chain", told.len(), truth.len())];
    for (kind, all) in [("missing", &missing), ("not in the chain", &foreign), ("told again", &again)] {
        if !all.is_empty() {
            found.push(format!("{what}: {} {kind}: {:?}", all.len(), &all[..all.len().min(SHOWN)]));
        }
    }
    if found.len() == 1 {
        let at = told.iter().zip(truth).position(|(one, other)| one != other).unwrap_or_default();
        found.push(format!("{what}: out of order from {:?} on, {:?} is next", told[at], truth[at]));
    }
    found
}
