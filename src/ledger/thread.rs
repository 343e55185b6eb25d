//! The ledger's threads: they own the store, and are out of everybody's way while that is slow, or gone.
//!
//! **The one that writes** takes turns: it writes the batch that was handed in, looks for changes of who may come in,
//! and does a step of the upkeep. Between turns it sleeps until there is an order, for [`LEDGER_LOOK_EVERY`] at most.
//! **The other one** asks what the admin API wants to know.
//!
//! **Trouble.** What fails is tried again after a while that grows. The batch is held meanwhile, and questions are
//! answered at once with why not. When the store is back, who may come in is read whole: it may have been put back from
//! a copy.
//!
//! **Nobody waits for anybody.** No thread waits for control to hear its news: it keeps the few that there are. Control
//! never waits for a thread.
//!
//! [`LEDGER_LOOK_EVERY`]: crate::limits::LEDGER_LOOK_EVERY

mod asked;
mod backoff;
mod turn;

use std::future::Future;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use self::turn::Turns;
use super::address::StoreAddress;
use super::error::StoreError;
use super::row::{Directory, UsageBatch};
use super::store::{Retention, Store};
use crate::limits::{LEDGER_BUSY_PAUSE, LEDGER_NEWS_MAX, LEDGER_ORDERS_MAX, LEDGER_QUESTIONS_MAX};

/// What the thread has to tell.
#[derive(Debug)]
pub enum News {
    /// Who may come in, as it is now: whole at first and whenever the store was gone, else what has changed.
    Directory(Directory),
    /// The batch of this number is in the store.
    Written {
        sequence: u64,
    },
    /// The store is gone, or refuses; told once until it has recovered, or says something else.
    Trouble(String),
    Recovered,
}

/// Control's end of the threads.
#[derive(Debug)]
pub struct Ledger {
    orders: SyncSender<Order>,
    news: mpsc::Receiver<News>,
    asker: Asker,
    under_way: Option<u64>,
    ended: bool,
}

/// For those who ask the store something: the admin API.
#[derive(Clone, Debug)]
pub struct Asker(SyncSender<Box<Question>>);

/// What the thread that writes is told.
#[derive(Debug)]
enum Order {
    Write(UsageBatch),
    /// There may be a change.
    Look,
    Finish {
        by: Instant,
    },
}

/// Says whether the store is as well as before.
type Question = dyn FnOnce(Result<&mut Store, StoreError>) -> bool + Send;

impl Ledger {
    /// Starts the threads. Whether there is a store, its news will tell; whoever wants to know before asks
    /// [`Store::open`].
    pub fn start(address: StoreAddress, retention: Retention) -> std::io::Result<Self> {
        let (orders, ordered) = sync_channel(LEDGER_ORDERS_MAX);
        let (asker, questions) = sync_channel(LEDGER_QUESTIONS_MAX);
        let (tell, news) = mpsc::channel(LEDGER_NEWS_MAX);
        let turns = Turns::new(address.clone(), retention, tell);
        Builder::new().name("ledger".into()).spawn(move || turns.run(&ordered))?;
        let look = orders.clone();
        Builder::new().name("ledger-asks".into()).spawn(move || asked::run(&address, &questions, &look))?;
        Ok(Self { orders, news, asker: Asker(asker), under_way: None, ended: false })
    }

    /// Hands in a batch, unless one is under way: until its [`News::Written`] is heard. Never blocks. The thread tries
    /// until it is written; one that was not taken is to be handed in again, as control holds it anyway.
    pub fn write(&mut self, batch: UsageBatch) {
        if self.under_way.is_some() {
            return;
        }
        let sequence = batch.sequence;
        if self.orders.try_send(Order::Write(batch)).is_ok() {
            self.under_way = Some(sequence);
        }
    }

    /// Whether one is under way, so that it would be in vain to hand one in.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.under_way.is_some()
    }

    /// What there is to tell; may be dropped and asked again. Pending forever when the thread has ended.
    pub async fn next(&mut self) -> News {
        if let Some(news) = self.news.recv().await {
            if let News::Written { sequence } = news {
                self.under_way.take_if(|under_way| *under_way == sequence);
            }
            return news;
        }
        if self.ended {
            return std::future::pending().await;
        }
        self.ended = true;
        News::Trouble("the ledger's thread has ended".into())
    }

    #[must_use]
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Has the batch under way written, if that is done in time, and ends the thread. Gives its number if it was.
    pub async fn finish(mut self, within: Duration) -> Option<u64> {
        let mut written = None;
        let end = async {
            let by = Instant::now() + within;
            while let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Finish { by }) {
                sleep(LEDGER_BUSY_PAUSE).await;
            }
            while let Some(news) = self.news.recv().await {
                if let News::Written { sequence } = news {
                    written = Some(sequence);
                }
            }
        };
        // The thread keeps to the same time, but for what it waits for just then.
        let _ = timeout(within, end).await;
        written
    }
}

impl Asker {
    /// Has the thread ask the store. An answer comes at once where the store is gone, or too many ask. A question whose
    /// asker has gone before its turn is not asked.
    pub fn ask<T, Q>(&self, question: Q) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.try_send(Box::new(move |store| {
            // Whoever asked has been told that it was not done, or does not care.
            if answer.is_closed() {
                return store.is_ok();
            }
            let found = store.and_then(question);
            let fine = found.as_ref().err().is_none_or(StoreError::of_asker);
            let _ = answer.send(found);
            fine
        }));
        async move {
            match asked {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(unanswered())),
                Err(TrySendError::Full(_)) => Err(StoreError::Busy("too many ask at once".into())),
                Err(TrySendError::Disconnected(_)) => Err(unanswered()),
            }
        }
    }
}

fn unanswered() -> StoreError {
    StoreError::Unavailable("the ledger's thread gave no answer".into())
}
