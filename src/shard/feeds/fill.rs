//! What a feed has missed, asked for through the one door.
//!
//! The provider that the feed is heard from has told of the blocks, so it is asked first; whoever ranks best is asked
//! when that one fails or does not know. Only the newest header is that provider's alone to say, and on the connection
//! that it pushes on: what comes behind its answer there is newer.
//!
//! **That a block has no logs** is what some nodes also say of a block that they do not know, and behind one provider's
//! URLs there may be several nodes. So it counts only from one that has shown before that it knows the block: best on the
//! connection that the feed is heard on, behind which there is one node; else from whichever provider can show it.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::choose;
use super::own::Owned;
use crate::jsonrpc::{self, Reply};
use crate::limits;
use crate::shard::door::{self, Ask, Said};
use crate::shard::guard::guarded;
use crate::shard::place::Route;
use crate::shard::upstream::Upstream;
use crate::shard::upstream::socket::Attached;
use crate::shard::view::View;
use crate::shard::{Shard, on_heap};
use crate::subscription::{BlockHash, Fetch, FetchId, Header, Log, LogFilter, Wanted, push_hex, read_block, read_logs};

/// What came of it.
pub(super) enum Filled {
    Headers(Vec<Header>),
    /// A block's. `knows_block`: who answered had shown before that it knows the block.
    Logs {
        logs: Vec<Log>,
        knows_block: bool,
    },
    Nothing,
}

/// What was said of a block's logs on the feed's connection.
enum Told {
    Logs(Vec<Log>),
    /// It does not know the block.
    Unknown,
    Nothing,
}

const BY_HASH: &str = "eth_getBlockByHash";
const BY_NUMBER: &str = "eth_getBlockByNumber";
const LOGS: &str = "eth_getLogs";
/// Time for a call on a connection that is there.
const THERE_PATIENCE: Duration = limits::SUBSCRIBE_TIMEOUT;

/// Asks for `fetch` in a task of its own. `heard`: the provider's slot that the feed is heard from, and its connection.
pub(super) fn begin(shard: &Rc<Shard>, owned: &Rc<Owned>, id: FetchId, fetch: Fetch) {
    let (of, owned) = (Rc::clone(shard), Rc::clone(owned));
    let work = async move {
        let filled = guarded(&of, fill(&of, &owned, fetch)).await.unwrap_or(Filled::Nothing);
        owned.on_filled(&of, id, filled);
    };
    shard.ring.spawn(work).detach();
}

async fn fill(shard: &Rc<Shard>, owned: &Rc<Owned>, fetch: Fetch) -> Filled {
    match fetch {
        Fetch::Latest { epoch } => match owned.attached(epoch) {
            Some(attached) => latest(shard, &attached).await,
            None => Filled::Nothing,
        },
        Fetch::Header { hash } => headers(header_by_hash(shard, owned, hash).await),
        Fetch::Headers { from, to } => run(shard, owned, from, to).await,
        Fetch::Logs { block } => logs(shard, owned, block).await,
    }
}

fn headers(header: Option<Header>) -> Filled {
    header.map_or(Filled::Nothing, |header| Filled::Headers(vec![header]))
}

async fn latest(shard: &Rc<Shard>, attached: &Attached) -> Filled {
    headers(ask_there(shard, attached, BY_NUMBER, br#"["latest",false]"#, read_block).await.flatten())
}

/// Asks on the connection that the feed is heard on.
async fn ask_there<T>(
    shard: &Rc<Shard>,
    attached: &Attached,
    method: &'static str,
    params: &[u8],
    read: impl Fn(&[u8]) -> T,
) -> Option<T> {
    let deadline = shard.clock.now() + THERE_PATIENCE;
    let reply = attached.call(shard, method, params, deadline).await.ok()?;
    match jsonrpc::inspect(&reply, None, &mut shard.scratch.borrow_mut()) {
        Reply::Success { result, .. } => Some(read(&reply[result])),
        _ => None,
    }
}

async fn header_by_hash(shard: &Rc<Shard>, owned: &Owned, hash: BlockHash) -> Option<Header> {
    ask(shard, owned, BY_HASH, &of_hash(hash), read_block).await.map(|(header, _)| header)
}

/// Params of [`BY_HASH`].
fn of_hash(hash: BlockHash) -> Vec<u8> {
    let mut params = vec![b'['];
    push_hex(&mut params, &hash.0);
    params.extend_from_slice(b",false]");
    params
}

/// Headers by number, several at a time.
async fn run(shard: &Rc<Shard>, owned: &Owned, from: u64, to: u64) -> Filled {
    let numbers = stream::iter((from..=to).take(limits::GAP_BLOCKS_MAX));
    let asked = numbers.map(|number| async move {
        let params = format!(r#"["{number:#x}",false]"#);
        ask(shard, owned, BY_NUMBER, params.as_bytes(), read_block).await
    });
    let found = asked.buffered(limits::FETCHES_IN_FLIGHT_MAX).filter_map(std::future::ready);
    let found: Vec<_> = found.map(|(header, _)| header).collect().await;
    if found.is_empty() { Filled::Nothing } else { Filled::Headers(found) }
}

async fn logs(shard: &Rc<Shard>, owned: &Owned, block: BlockHash) -> Filled {
    let any = LogFilter::default();
    let filter = if let Wanted::Logs(filter) = &owned.key.wanted { filter } else { &any };
    let mut params = vec![b'['];
    filter.write_of_block(&mut params, block);
    params.push(b']');
    let Some((logs, from)) = ask(shard, owned, LOGS, &params, read_logs).await else { return Filled::Nothing };
    if !logs.is_empty() {
        return Filled::Logs { logs, knows_block: false };
    }
    let found = on_heap(|| logs_of_who_knows(shard, owned, block, &params, from.slot.number)).await;
    found.map_or(Filled::Nothing, |logs| Filled::Logs { logs, knows_block: true })
}

/// A block's logs from one that shows that it knows the block: on the feed's connection, else from the provider `from`,
/// then from others.
async fn logs_of_who_knows(
    shard: &Rc<Shard>,
    owned: &Owned,
    block: BlockHash,
    params: &[u8],
    from: u64,
) -> Option<Vec<Log>> {
    let mut behind = None;
    if let Some((slot, attached)) = owned.heard() {
        match logs_there(shard, &attached, block, params).await {
            Told::Logs(logs) => return Some(logs),
            Told::Unknown => behind = Some(slot),
            Told::Nothing => {}
        }
    }
    shard.refresh();
    let view = shard.view();
    let route = choose::route(&view, &owned.key)?;
    let all = route.chain.upstreams.iter().enumerate();
    let all = all.filter(|(at, _)| route.only.is_none_or(|only| only == *at)).map(|(_, upstream)| upstream.slot.number);
    let mut all: Vec<u64> = all.filter(|slot| Some(*slot) != behind).collect();
    // Others each time, so that all have their turn.
    let turn = usize::try_from(shard.draw() % 256).unwrap_or_default() % all.len().max(1);
    all.rotate_left(turn);
    all.sort_by_key(|slot| *slot != from);
    for slot in all.into_iter().take(limits::FILL_PROVIDERS_MAX) {
        let header = ask_only(shard, owned, slot, BY_HASH, &of_hash(block), read_block).await;
        if header.is_some_and(|header| header.hash == block)
            && let Some(logs) = ask_only(shard, owned, slot, LOGS, params, read_logs).await
        {
            return Some(logs);
        }
    }
    None
}

/// Both on one connection, in this order: by the time that it shows the block, it has its logs.
async fn logs_there(shard: &Rc<Shard>, attached: &Attached, block: BlockHash, params: &[u8]) -> Told {
    match ask_there(shard, attached, BY_HASH, &of_hash(block), read_block).await {
        Some(Some(header)) if header.hash == block => {}
        Some(None) => return Told::Unknown,
        _ => return Told::Nothing,
    }
    ask_there(shard, attached, LOGS, params, read_logs).await.flatten().map_or(Told::Nothing, Told::Logs)
}

/// Asks the provider that is heard, and else whoever can answer. Also says who did.
async fn ask<T>(
    shard: &Rc<Shard>,
    owned: &Owned,
    method: &'static str,
    params: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, Rc<Upstream>)> {
    let heard = owned.heard().map(|(slot, _)| slot);
    if owned.key.only.is_none()
        && let Some(heard) = heard
        && let Some(route) = route_to(shard, owned, heard)
        && let Some(found) = ask_of(shard, &shard.view(), &route, method, params, &read).await
    {
        return Some(found);
    }
    shard.refresh();
    let view = shard.view();
    let route = choose::route(&view, &owned.key)?;
    ask_of(shard, &view, &route, method, params, &read).await
}

/// Asks this provider alone.
async fn ask_only<T>(
    shard: &Rc<Shard>,
    owned: &Owned,
    slot: u64,
    method: &'static str,
    params: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let route = route_to(shard, owned, slot)?;
    ask_of(shard, &shard.view(), &route, method, params, read).await.map(|(found, _)| found)
}

/// The feed's route as it is now, to one provider; none where that is there no more.
fn route_to(shard: &Rc<Shard>, owned: &Owned, slot: u64) -> Option<Route> {
    shard.refresh();
    let route = choose::route(&shard.view(), &owned.key)?;
    let position = route.chain.upstreams.iter().position(|upstream| upstream.slot.number == slot)?;
    Some(Route { only: Some(position), ..route })
}

async fn ask_of<T>(
    shard: &Rc<Shard>,
    view: &View,
    route: &Route,
    method: &'static str,
    params: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, Rc<Upstream>)> {
    let mut raw = shard.buffers.take();
    raw.extend_from_slice(br#"{"jsonrpc":"2.0","id":1,"method":""#);
    raw.extend_from_slice(method.as_bytes());
    raw.extend_from_slice(br#"","params":"#);
    raw.extend_from_slice(params);
    raw.push(b'}');
    let call = jsonrpc::Call { raw: &raw, id: Some(b"1"), method: method.into(), params: Some(params) };
    let answer = door::ask_providers(shard, view, &Ask::new(route, call, false)).await;
    let mut text = shard.buffers.take();
    match answer.said {
        Said::Whole(whole) => {
            whole.write(&mut text, b"1");
            shard.buffers.give(whole.buffer);
        }
        Said::Streamed(mut streamed) => {
            let patience = view.snapshot.config.upstream.progress_timeout;
            let mut room = limits::FILL_BYTES_MAX;
            let pay = |bytes: usize| room.checked_sub(bytes).map(|left| room = left).is_some();
            if streamed.collect(shard, &mut text, patience, pay).await.is_err() {
                text.clear();
            }
        }
        Said::Failed { .. } => {}
    }
    let found = match jsonrpc::inspect(&text, Some(b"1"), &mut shard.scratch.borrow_mut()) {
        Reply::Success { result, .. } => read(&text[result]),
        _ => None,
    };
    shard.buffers.give(text);
    shard.buffers.give(raw);
    found.zip(answer.provider)
}
