use super::*;
use crate::limits::{GAP_BLOCKS_MAX, LOGS_WAITING_MAX, SUBSCRIBE_TIMEOUT, WINDOW_BLOCKS_MAX};
use crate::subscription::Raw;

/// A block's name: its branch and its number. What is its parent is up to each test.
fn hash(branch: u8, number: u64) -> BlockHash {
    let mut hash = BlockHash([branch; 32]);
    hash.0[..8].copy_from_slice(&number.to_be_bytes());
    hash
}

fn header(branch: u8, number: u64) -> Header {
    Header { hash: hash(branch, number), parent: hash(branch, number - 1), number, raw: Raw::from(&b"head"[..]) }
}

/// The first block of a branch, on top of another one's.
fn fork(branch: u8, number: u64, from: u8) -> Header {
    Header { parent: hash(from, number - 1), ..header(branch, number) }
}

fn log(branch: u8, number: u64, index: u64) -> Log {
    Log { block: hash(branch, number), index, raw: Raw::from(&b"log"[..]) }
}

/// A core and what it has said.
struct Told {
    core: Core,
    now: Instant,
    fetches: Vec<(FetchId, Fetch)>,
    subscribes: Vec<(Epoch, Option<Epoch>)>,
    unsubscribes: Vec<Epoch>,
    closed: Option<&'static str>,
}

impl Told {
    fn new(feed: Feed) -> Self {
        let settings =
            Settings { feed, stale_after: Duration::from_secs(10), outage_max: Duration::from_secs(30), lag_max: 3 };
        let now = Instant::START;
        let core = Core::new(settings, now);
        Self { core, now, fetches: vec![], subscribes: vec![], unsubscribes: vec![], closed: None }
    }

    /// Subscribed in epoch 1, with block 10 of branch 0 as the beginning.
    fn begun(feed: Feed) -> Self {
        let mut told = Self::new(feed);
        assert_eq!(told.drain(), "");
        assert_eq!(told.subscribes, [(Epoch(1), None)]);
        told.core.on_subscribed(told.now, Epoch(1));
        told.answer(Fetch::Latest { epoch: Epoch(1) }, vec![header(0, 10)]);
        assert_eq!(told.drain(), "");
        told
    }

    fn passes(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.core.on_tick(self.now);
    }

    fn head(&mut self, epoch: u64, header: Header) -> String {
        self.core.on_head(self.now, Epoch(epoch), header);
        self.drain()
    }

    fn log(&mut self, epoch: u64, log: Log) -> String {
        self.core.on_log(self.now, Epoch(epoch), log);
        self.drain()
    }

    fn lost(&mut self, epoch: u64) -> String {
        self.core.on_lost(self.now, Epoch(epoch));
        self.drain()
    }

    fn subscribed(&mut self, epoch: u64) -> String {
        self.core.on_subscribed(self.now, Epoch(epoch));
        self.drain()
    }

    /// The provider that was asked last agrees, with this as its newest head.
    fn next_says(&mut self, header: Header) -> String {
        let epoch = self.subscribes.last().expect("one was asked").0;
        assert_eq!(self.subscribed(epoch.0), "");
        self.answer(Fetch::Latest { epoch }, vec![header])
    }

    fn asked(&mut self, fetch: Fetch) -> FetchId {
        assert_eq!(self.drain(), "");
        let at = self.fetches.iter().position(|(_, asked)| *asked == fetch);
        let at = at.unwrap_or_else(|| panic!("{fetch:?} is not among {:?}", self.fetches));
        self.fetches.remove(at).0
    }

    fn answer(&mut self, fetch: Fetch, headers: Vec<Header>) -> String {
        let id = self.asked(fetch);
        self.core.on_fetched_headers(self.now, id, headers);
        self.drain()
    }

    fn logs(&mut self, branch: u8, number: u64, indices: &[u64]) -> String {
        let id = self.asked(Fetch::Logs { block: hash(branch, number) });
        let logs = indices.iter().map(|index| log(branch, number, *index)).collect();
        self.core.on_fetched_logs(self.now, id, logs, true);
        self.drain()
    }

    /// Nothing, said by one that has not shown that it knows the block.
    fn no_logs(&mut self, branch: u8, number: u64) -> String {
        let id = self.asked(Fetch::Logs { block: hash(branch, number) });
        self.core.on_fetched_logs(self.now, id, vec![], false);
        self.drain()
    }

    /// What is told: `+0:11` a head, `+0:11.2` a log, `-0:11.2` one removed.
    fn drain(&mut self) -> String {
        let mut told = Vec::new();
        let name = |hash: BlockHash| {
            let number = hash.0.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).expect("eight bytes");
            format!("{}:{number}", hash.0[31])
        };
        while let Some(action) = self.core.poll() {
            match action {
                Action::Subscribe { epoch, instead_of } => self.subscribes.push((epoch, instead_of)),
                Action::Unsubscribe { epoch } => self.unsubscribes.push(epoch),
                Action::Fetch { id, fetch } => self.fetches.push((id, fetch)),
                Action::Emit(Emission::Head(header)) => told.push(format!("+{}", name(header.hash))),
                Action::Emit(Emission::Log(log)) => told.push(format!("+{}.{}", name(log.block), log.index)),
                Action::Emit(Emission::Removed(log)) => told.push(format!("-{}.{}", name(log.block), log.index)),
                Action::Close { reason } => self.closed = Some(reason),
            }
        }
        told.join(" ")
    }
}

#[test]
fn heads_are_told_as_they_come_and_once() {
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.head(1, header(0, 10)), "");
    assert_eq!(told.head(1, header(0, 11)), "+0:11");
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.head(7, header(0, 12)), "", "an epoch that nobody asked for");
    assert_eq!(told.head(1, header(0, 12)), "+0:12");
    assert_eq!(told.head(1, header(0, 11)), "", "an older one again");
    assert!(told.fetches.is_empty() && told.closed.is_none());
}

#[test]
fn a_gap_is_filled_by_number_and_where_that_does_not_lead_to_it_by_hash() {
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.head(1, header(0, 14)), "");
    let by_number = Fetch::Headers { from: 11, to: 13 };
    assert_eq!(told.answer(by_number, vec![header(0, 13), header(0, 12), header(0, 11)]), "+0:11 +0:12 +0:13 +0:14");
    // Of another branch, all of them.
    assert_eq!(told.head(1, header(0, 17)), "");
    assert_eq!(told.answer(Fetch::Headers { from: 15, to: 16 }, vec![header(5, 15), header(5, 16)]), "");
    assert_eq!(told.answer(Fetch::Header { hash: hash(0, 16) }, vec![header(0, 16)]), "");
    assert_eq!(told.answer(Fetch::Header { hash: hash(0, 15) }, vec![header(0, 15)]), "+0:15 +0:16 +0:17");
}

#[test]
fn what_is_not_there_yet_is_asked_for_again_after_a_pause() {
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.head(1, header(0, 12)), "");
    let fetch = Fetch::Header { hash: hash(0, 11) };
    let id = told.asked(fetch);
    told.core.on_unfetched(told.now, id);
    assert_eq!(told.drain(), "");
    assert!(told.fetches.is_empty());
    assert_eq!(told.core.next_wake(told.now), told.now + Duration::from_millis(100));
    told.passes(100);
    assert_eq!(told.answer(fetch, vec![header(0, 99)]), "", "an answer to something else");
    told.passes(200);
    assert_eq!(told.answer(fetch, vec![header(0, 11)]), "+0:11 +0:12");
}

#[test]
fn a_reorganisation_takes_logs_back_and_so_does_the_one_back() {
    let mut told = Told::begun(Feed::Logs);
    // The first that is pushed is not relied on.
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.logs(0, 11, &[3]), "+0:11.3");
    assert_eq!(told.log(1, log(0, 12, 0)), "", "before its head");
    assert_eq!(told.head(1, header(0, 12)), "+0:12.0");
    assert_eq!(told.log(1, log(0, 12, 4)), "+0:12.4");
    assert_eq!(told.log(1, log(0, 12, 4)), "", "twice");

    // Another branch from 10 on, of which only the last head is pushed.
    assert_eq!(told.head(1, header(1, 12)), "");
    assert_eq!(told.answer(Fetch::Header { hash: hash(1, 11) }, vec![fork(1, 11, 0)]), "-0:11.3 -0:12.0 -0:12.4");
    assert_eq!(told.logs(1, 12, &[7]), "", "not before those of the block below");
    assert_eq!(told.logs(1, 11, &[]), "+1:12.7");

    // And back: the headers are known.
    assert_eq!(told.head(1, header(0, 13)), "-1:12.7 +0:11.3 +0:12.0 +0:12.4");
    // Of 12 more may be under way, for all we know.
    assert_eq!(told.logs(0, 13, &[1]), "");
    assert_eq!(told.logs(0, 12, &[0, 4, 5]), "+0:12.5 +0:13.1");
}

#[test]
fn what_may_not_have_come_before_a_loss_is_fetched_and_told_first() {
    let mut told = Told::begun(Feed::Logs);
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.logs(0, 11, &[]), "");
    assert_eq!(told.head(1, header(0, 12)), "");
    told.passes(12_000);
    assert_eq!(told.head(1, header(0, 13)), "");
    assert_eq!(told.log(1, log(0, 13, 2)), "+0:13.2");
    assert_eq!(told.lost(1), "");
    assert_eq!(told.subscribes.last(), Some(&(Epoch(2), Some(Epoch(1)))));
    assert_eq!(told.subscribed(2), "");
    assert_eq!(told.answer(Fetch::Latest { epoch: Epoch(2) }, vec![header(0, 14)]), "");
    assert_eq!(told.logs(0, 14, &[1]), "", "13 comes first");
    // Block 12 came long before the last word: its logs were whole.
    assert!(!told.fetches.iter().any(|(_, fetch)| *fetch == Fetch::Logs { block: hash(0, 12) }));
    assert_eq!(told.logs(0, 13, &[2, 5]), "+0:13.5 +0:14.1");
}

#[test]
fn that_a_block_has_no_logs_counts_only_from_whoever_knows_it_and_never_against_what_was_told() {
    let mut told = Told::begun(Feed::Logs);
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.no_logs(0, 11), "");
    told.passes(100);
    assert_eq!(told.logs(0, 11, &[]), "");
    assert_eq!(told.head(1, header(0, 12)), "");
    assert_eq!(told.log(1, log(0, 12, 3)), "+0:12.3");
    assert_eq!(told.lost(1), "");
    for (n, lacking) in [&[][..], &[2, 5]].into_iter().enumerate() {
        assert_eq!(told.logs(0, 12, lacking), "", "it lacks one that was told");
        told.passes(100 << n);
    }
    assert_eq!(told.logs(0, 12, &[3, 5]), "+0:12.5");
    assert_eq!(told.closed, None);
}

#[test]
fn a_replacement_that_is_behind_is_waited_for() {
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.head(1, header(0, 11)), "+0:11");
    assert_eq!(told.head(1, header(0, 12)), "+0:12");
    assert_eq!(told.lost(1), "");
    assert_eq!(told.subscribed(2), "");
    // Even on another branch.
    assert_eq!(told.answer(Fetch::Latest { epoch: Epoch(2) }, vec![fork(1, 11, 0)]), "");
    assert_eq!(told.head(2, header(0, 11)), "");
    assert_eq!(told.head(2, header(0, 12)), "");
    assert_eq!(told.head(2, header(0, 13)), "+0:13");
    assert_eq!(told.closed, None);
}

#[test]
fn a_silent_provider_is_heard_until_the_next_has_agreed() {
    let mut told = Told::begun(Feed::Heads);
    told.passes(9_999);
    assert_eq!((told.drain().as_str(), told.subscribes.len()), ("", 1));
    told.passes(1);
    assert_eq!((told.drain().as_str(), told.subscribes.len()), ("", 2));
    assert_eq!(told.head(1, header(0, 11)), "+0:11");
    assert_eq!(told.subscribed(2), "");
    assert_eq!(told.unsubscribes, [Epoch(1)]);
    assert_eq!(told.head(1, header(0, 12)), "", "it is over");
    assert_eq!(told.answer(Fetch::Latest { epoch: Epoch(2) }, vec![header(0, 12)]), "+0:12");
    // One that never answers is given up.
    told.passes(10_000);
    told.passes(u64::try_from(SUBSCRIBE_TIMEOUT.as_millis()).unwrap());
    assert_eq!(told.drain(), "");
    assert_eq!(told.unsubscribes, [Epoch(1), Epoch(3)]);
    told.passes(100);
    assert_eq!(told.drain(), "");
    assert_eq!(told.subscribes.last(), Some(&(Epoch(4), Some(Epoch(2)))));
}

#[test]
fn a_chain_that_halts_costs_ever_fewer_subscriptions_and_nobody_its_stream() {
    let mut told = Told::begun(Feed::Heads);
    for _ in 0..1200 {
        told.passes(1000);
        assert_eq!(told.drain(), "");
        if let Some((epoch, _)) = told.subscribes.last().copied().filter(|(epoch, _)| epoch.0 > 1) {
            told.core.on_subscribed(told.now, epoch);
            assert_eq!(told.drain(), "");
            for (id, _) in std::mem::take(&mut told.fetches) {
                told.core.on_fetched_headers(told.now, id, vec![header(0, 10)]);
            }
        }
    }
    assert_eq!(told.closed, None);
    assert!(told.subscribes.len() < 14, "{}", told.subscribes.len());
}

#[test]
fn a_provider_that_lags_is_left() {
    let mut told = Told::begun(Feed::Heads);
    told.core.on_head_elsewhere(told.now, 13);
    told.passes(5_000);
    assert_eq!(told.head(1, header(0, 11)), "+0:11");
    told.core.on_head_elsewhere(told.now, 15);
    told.passes(9_000);
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.subscribes.len(), 1);
    told.passes(1_000);
    assert_eq!((told.drain().as_str(), told.subscribes.len()), ("", 2));
}

#[test]
fn what_cannot_be_made_good_closes_the_stream() {
    // An outage.
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.lost(1), "");
    told.passes(29_999);
    assert_eq!((told.drain().as_str(), told.closed), ("", None));
    told.passes(1);
    assert_eq!(told.drain(), "");
    assert!(told.closed.is_some());
    assert_eq!(told.subscribed(9), "");

    // A gap that is too long, whoever is heard.
    let mut told = Told::begun(Feed::Heads);
    let far = header(0, 12 + GAP_BLOCKS_MAX as u64);
    assert_eq!(told.head(1, far.clone()), "");
    assert_eq!(told.next_says(far), "");
    assert_eq!(told.closed, Some("too many blocks were missed"));

    // A reorganisation below what is remembered.
    let mut told = Told::begun(Feed::Heads);
    let last = 11 + WINDOW_BLOCKS_MAX as u64;
    (11..=last).for_each(|number| drop(told.head(1, header(0, number))));
    assert_eq!(told.head(1, fork(1, 12, 0)), "");
    assert_eq!((told.next_says(header(0, last)).as_str(), told.closed), ("", None), "the next one knows of none");
    assert_eq!(told.head(2, fork(1, 12, 0)), "");
    assert_eq!(told.closed, Some("a reorganisation deeper than what is remembered"));
}

#[test]
fn whoever_tells_of_another_chain_is_left_and_not_what_was_told_before() {
    let far = 14 + GAP_BLOCKS_MAX as u64;
    // Too far above, and at odds with itself.
    for strange in [vec![header(9, far)], vec![fork(9, 13, 0), Header { number: 11, ..header(0, 12) }]] {
        let mut told = Told::begun(Feed::Logs);
        assert_eq!(told.head(1, header(0, 11)), "");
        assert_eq!(told.logs(0, 11, &[2]), "+0:11.2");
        let mut strange = strange.into_iter();
        strange.next().map(|header| told.head(1, header));
        if let Some(header) = strange.next() {
            told.answer(Fetch::Header { hash: header.hash }, vec![header]);
        }
        assert_eq!((told.closed, &told.unsubscribes[..]), (None, &[Epoch(1)][..]));
        assert_eq!(told.head(1, header(0, 12)), "", "it is over");
        assert_eq!(told.next_says(header(0, 12)), "");
        assert_eq!(told.logs(0, 12, &[0, 1]), "+0:12.0 +0:12.1", "what a stray one said of it is forgotten");
        // Once more, later: there is progress between.
        assert_eq!(told.head(2, header(9, far)), "");
        assert_eq!((told.closed, told.subscribes.len()), (None, 3));
    }
}

#[test]
fn whoever_says_what_nobody_can_join_to_the_rest_is_left_after_a_while() {
    let mut told = Told::begun(Feed::Heads);
    for second in 0..11 {
        assert_eq!(told.head(1, header(9, 12 + second)), "");
        for (id, _) in std::mem::take(&mut told.fetches) {
            told.core.on_unfetched(told.now, id);
        }
        told.passes(1000);
    }
    assert_eq!(told.drain(), "");
    assert_eq!(told.subscribes.last(), Some(&(Epoch(2), Some(Epoch(1)))));
    assert_eq!(told.next_says(header(0, 11)), "+0:11");
    assert_eq!((told.closed, &told.unsubscribes[..]), (None, &[Epoch(1)][..]));
}

#[test]
fn a_provider_whose_pushes_had_to_be_dropped_is_no_longer_relied_on_for_logs() {
    let mut told = Told::begun(Feed::Logs);
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.logs(0, 11, &[]), "");
    assert_eq!(told.head(1, header(0, 12)), "");
    (0..LOGS_WAITING_MAX as u64).for_each(|index| drop(told.log(1, log(9, 40, index))));
    assert!(told.fetches.is_empty());
    assert_eq!(told.log(1, log(0, 13, 0)), "", "no room for it");
    assert_eq!(told.head(1, header(0, 13)), "");
    assert_eq!(told.logs(0, 13, &[0, 1]), "");
    assert_eq!(told.logs(0, 12, &[5]), "+0:12.5 +0:13.0 +0:13.1");
}

#[test]
fn a_long_stream_is_remembered_in_part() {
    let mut told = Told::begun(Feed::Logs);
    assert_eq!(told.head(1, header(0, 11)), "");
    assert_eq!(told.logs(0, 11, &[]), "");
    for number in 12..12 + 2 * WINDOW_BLOCKS_MAX as u64 {
        told.passes(1000);
        assert_eq!(told.head(1, header(0, number)), "");
        assert_eq!(told.log(1, log(0, number, 1)), format!("+0:{number}.1"));
    }
    assert_eq!((told.core.chain.delivered_blocks(), told.closed), (WINDOW_BLOCKS_MAX, None));
    assert!(told.core.chain.unsettled().len() <= 3 && told.fetches.is_empty());
}

#[test]
fn a_reorganisation_below_the_beginning_can_be_told_too() {
    let mut told = Told::begun(Feed::Heads);
    assert_eq!(told.head(1, header(0, 11)), "+0:11");
    assert_eq!(told.head(1, header(1, 11)), "");
    assert_eq!(told.answer(Fetch::Header { hash: hash(0, 9) }, vec![header(0, 9)]), "");
    assert_eq!(told.answer(Fetch::Header { hash: hash(1, 10) }, vec![fork(1, 10, 0)]), "+1:10 +1:11");
}

#[test]
fn blocks_that_contradict_each_other_below_the_beginning_close_it() {
    for number in [0, 8, 10, u64::MAX] {
        let mut told = Told::begun(Feed::Heads);
        assert_eq!(told.head(1, fork(1, 10, 0)), "", "beside the block that all begins with");
        told.answer(Fetch::Header { hash: hash(0, 9) }, vec![Header { number, ..header(0, 9) }]);
        assert_eq!((told.closed, &told.unsubscribes[..]), (None, &[Epoch(1)][..]));
        assert_eq!(told.next_says(fork(1, 10, 0)), "");
        told.answer(Fetch::Header { hash: hash(0, 9) }, vec![Header { number, ..header(0, 9) }]);
        assert!(told.closed.is_some() && told.fetches.is_empty(), "{number}: {:?}", told.fetches);
    }
}

#[test]
fn a_head_that_the_node_no_longer_believes_in_is_no_lag() {
    let mut told = Told::begun(Feed::Heads);
    told.core.on_head_elsewhere(told.now, 1000);
    told.core.on_head_elsewhere(told.now, 11);
    for number in 11..40 {
        told.passes(2000);
        assert_eq!(told.head(1, header(0, number)), format!("+0:{number}"));
    }
    assert_eq!(told.subscribes.len(), 1, "{:?}", told.subscribes);
}
