//! Panics of tasks: glommio aborts the process on one, and a fault in one task must cost no other.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::Shard;
use crate::link::{Event, EventKind};

/// Runs `work` to its end. None: it panicked, which is counted and told.
///
/// No `async fn`: that would hold `work` twice, as its argument and as what it awaits.
pub(crate) fn guarded<T>(shard: &Shard, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    let told = |ended: Result<T, _>| {
        if ended.is_err() {
            tell(shard);
        }
        ended.ok()
    };
    AssertUnwindSafe(work).catch_unwind().map(told)
}

/// Does `work` at once. None: it panicked, which is counted and told.
pub(crate) fn caught<T>(shard: &Shard, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        tell(shard);
    }
    done.ok()
}

/// Something of this shard has panicked.
fn tell(shard: &Shard) {
    shard.counters.panics.add(1);
    shard.recorder.event(Event::of_node(EventKind::Panicked), &shard.counters);
}
