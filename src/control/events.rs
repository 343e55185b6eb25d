//! What happened to providers and to this node: into the log, and to whoever reads along (`/api/events`).
//!
//! The last [`limits::EVENTS_KEPT_MAX`] are kept, so that one who comes in the middle of an incident sees how it began. Readers
//! share one ring of what is new; one that falls behind by more than it holds is sent away, and finds the kept ones when it
//! comes back. Telling never waits for a reader. Control's thread alone uses this; the mutex is for the type system.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::limits;
use crate::link::{Event, EventKind};

/// An event as it is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// From 1, without gaps, for as long as the process lives.
    pub number: u64,
    pub at: SystemTime,
    pub event: Event,
}

/// See the module.
#[derive(Debug)]
pub struct Events {
    book: Mutex<Book>,
    readers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Book {
    told: u64,
    kept: VecDeque<Arc<Told>>,
    /// None once the node closes.
    new: Option<broadcast::Sender<Arc<Told>>>,
}

/// One who reads along. Counts as a reader until it is dropped.
#[derive(Debug)]
pub struct Reader {
    kept: VecDeque<Arc<Told>>,
    new: Option<broadcast::Receiver<Arc<Told>>>,
    _place: OwnedSemaphorePermit,
}

impl Default for Events {
    fn default() -> Self {
        let new = Some(broadcast::Sender::new(limits::EVENTS_BEHIND_MAX));
        let book = Book { told: 0, kept: VecDeque::with_capacity(limits::EVENTS_KEPT_MAX), new };
        Self { book: Mutex::new(book), readers: Arc::new(Semaphore::new(limits::EVENTS_READERS_MAX)) }
    }
}

impl Events {
    /// Something has happened.
    pub fn tell(&self, event: Event) {
        log(&event);
        let mut book = self.book();
        book.told += 1;
        let told = Arc::new(Told { number: book.told, at: SystemTime::now(), event });
        if book.kept.len() == limits::EVENTS_KEPT_MAX {
            book.kept.pop_front();
        }
        book.kept.push_back(Arc::clone(&told));
        if let Some(new) = &book.new {
            // Nobody reads along: it is kept.
            let _ = new.send(told);
        }
    }

    /// Reads along from behind the event of that number, as far back as events are kept. None while all places are taken.
    #[must_use]
    pub fn read(&self, after: u64) -> Option<Reader> {
        let place = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        let book = self.book();
        let kept = book.kept.iter().filter(|told| told.number > after).cloned().collect();
        Some(Reader { kept, new: book.new.as_ref().map(broadcast::Sender::subscribe), _place: place })
    }

    /// Every reader reads what there is and then its end.
    pub fn close(&self) {
        self.book().new = None;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The next event; none once the node closes, or this reader has fallen too far behind.
    pub async fn next(&mut self) -> Option<Arc<Told>> {
        match self.kept.pop_front() {
            Some(told) => Some(told),
            None => self.new.as_mut()?.recv().await.ok(),
        }
    }
}

fn log(event: &Event) {
    let Event { chain, provider, kind } = event;
    let (chain, provider) = (&**chain, &**provider);
    let (seconds, blocks, said) = (kind.lasts().map(|time| time.as_secs_f64()), kind.blocks(), kind.chain_id());
    let (word, per_mille) = (kind.name(), kind.per_mille());
    match kind {
        EventKind::BreakerHalfOpen
        | EventKind::BreakerClosed
        | EventKind::RightChain
        | EventKind::InStep
        | EventKind::Reachable
        | EventKind::KeyAccepted
        | EventKind::FeedMoved
        | EventKind::Reloaded => {
            tracing::info!(target: "livechain::event", chain, provider, kind = word);
        }
        EventKind::Leads(class) => {
            tracing::info!(target: "livechain::event", chain, provider, kind = word, class = class.name());
        }
        EventKind::ClassCooldown(class, _) => {
            tracing::warn!(target: "livechain::event", chain, provider, kind = word, class = class.name(), seconds);
        }
        EventKind::SocketLost(_) => {
            tracing::warn!(target: "livechain::event", chain, provider, kind = word, why = kind.why(), code = kind.code());
        }
        EventKind::BreakerOpened
        | EventKind::Cooldown(_)
        | EventKind::Parked(_)
        | EventKind::TunedDown(_)
        | EventKind::Unauthorized
        | EventKind::KeyRefused
        | EventKind::WrongChain(_)
        | EventKind::Lagging(_)
        | EventKind::FarAhead(_)
        | EventKind::Unreachable
        | EventKind::FeedBroken
        | EventKind::ReloadRefused => {
            tracing::warn!(target: "livechain::event", chain, provider, kind = word, seconds, blocks, said, per_mille);
        }
        EventKind::Panicked => tracing::error!(target: "livechain::event", chain, provider, kind = word),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event() -> Event {
        Event { chain: "ethereum".into(), provider: "alpha".into(), kind: EventKind::BreakerOpened }
    }

    fn drained(reader: &mut Reader) -> Vec<u64> {
        std::iter::from_fn(|| reader.next().now_or_never().flatten()).map(|told| told.number).collect()
    }

    #[test]
    fn a_late_comer_reads_the_last_ones_and_goes_on() {
        let events = Events::default();
        let kept = limits::EVENTS_KEPT_MAX as u64;
        (0..kept + 10).for_each(|_| events.tell(event()));
        let mut reader = events.read(0).unwrap();
        events.tell(event());
        assert_eq!(drained(&mut reader), (11..=kept + 11).collect::<Vec<_>>());
        let mut back = events.read(kept + 9).unwrap();
        assert_eq!(drained(&mut back), [kept + 10, kept + 11]);
        events.tell(event());
        events.close();
        for reader in [&mut reader, &mut back] {
            assert_eq!(drained(reader), [kept + 12]);
            assert_eq!(reader.next().now_or_never().map(|told| told.is_none()), Some(true), "its end");
        }
    }

    #[test]
    fn who_falls_behind_is_sent_away_and_one_more_than_allowed_is_not_let_in() {
        let events = Events::default();
        let mut slow = events.read(0).unwrap();
        (0..=limits::EVENTS_BEHIND_MAX).for_each(|_| events.tell(event()));
        assert!(slow.next().now_or_never().is_some_and(|told| told.is_none()));
        let others: Vec<_> = (1..limits::EVENTS_READERS_MAX).map(|_| events.read(0).unwrap()).collect();
        assert!(events.read(0).is_none());
        drop(slow);
        assert!(events.read(0).is_some());
        drop(others);
    }
}
