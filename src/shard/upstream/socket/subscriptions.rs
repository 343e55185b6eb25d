//! What is subscribed to on one connection, and who hears it. Pure.
//!
//! A **listener** is one wish with its ear `E`. Heads are subscribed to once for all listeners that need them, and no
//! longer than one does. Logs come first, and the heads that belong to them are asked for when the provider has agreed:
//! the listener has its agreement when it has both, and hears nothing before. So each head that it hears is of a block
//! whose logs its subscription was there for.
//!
//! A provider may have dropped the subscription to heads without a word. A listener that comes when heads have been silent
//! for too long does not take them as they are: they are given up and asked for anew, for all who hear them, once however
//! many such listeners there are. What is pushed between the two is missed by the others, as what was dropped was.
//!
//! What becomes of a request to subscribe is told by its [`Purpose`]; the requests themselves are sent by the caller. A
//! listener that leaves before the provider has agreed leaves its request behind: the agreement is then taken back.

use std::collections::{BTreeMap, HashMap};

use super::{Pushed, Wish};

/// A listener; never used twice.
pub(super) type Key = u64;

/// Whose a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// That of all who hear heads.
    Heads,
    Own(Key),
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// `params` of `eth_subscribe`.
    Subscribe { purpose: Purpose, params: Vec<u8> },
    /// By the id that the provider gave.
    Unsubscribe { id: String },
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Follows<E> {
    pub(super) asks: Vec<Ask>,
    /// Listeners that have all that they wished.
    pub(super) agreed: Vec<Key>,
    /// Listeners that get nothing, and are none any more.
    pub(super) refused: Vec<E>,
}

/// The provider gave one id to two subscriptions: what it pushes by it would be heard by the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

/// How far a subscription has come.
#[derive(Debug)]
enum State {
    None,
    Asked,
    Agreed(String),
}

#[derive(Debug)]
struct Listener<E> {
    ear: E,
    what: Pushed,
    needs_heads: bool,
    /// The subscription to heads that it does not trust.
    doubts: Option<u64>,
    /// The one that is its alone.
    own: State,
    agreed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Subscriptions<E> {
    listeners: BTreeMap<Key, Listener<E>>,
    last: Key,
    heads: State,
    /// Subscriptions to heads that there have been.
    heads_agreed: u64,
    /// By the provider's ids.
    by_id: HashMap<String, Purpose>,
    /// Requests without an answer.
    asked: usize,
}

const HEADS: &[u8] = br#"["newHeads"]"#;

impl<E> Default for Subscriptions<E> {
    fn default() -> Self {
        Self {
            listeners: BTreeMap::new(),
            last: 0,
            heads: State::None,
            heads_agreed: 0,
            by_id: HashMap::new(),
            asked: 0,
        }
    }
}

impl<E: Clone> Subscriptions<E> {
    /// Subscriptions at the provider, asked for or agreed on.
    pub(super) fn count(&self) -> usize {
        self.by_id.len() + self.asked
    }

    /// Whether nobody listens.
    pub(super) fn is_idle(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Whether `wish` may be added where there may be `most`.
    pub(super) fn has_room_for(&self, wish: &Wish, most: usize) -> bool {
        // Heads are asked for later where logs are to come first.
        let heads_to_come = matches!(self.heads, State::None)
            && (self.wants_heads() || matches!(wish, Wish::Heads | Wish::Logs { .. }));
        let own = !matches!(wish, Wish::Heads);
        self.count() + usize::from(heads_to_come) + usize::from(own) <= most
    }

    /// Adds a listener. `are_heads_silent`: for too long, where they are subscribed to.
    pub(super) fn add(&mut self, wish: &Wish, ear: E, are_heads_silent: bool) -> (Key, Follows<E>) {
        self.last += 1;
        let key = self.last;
        let doubts = are_heads_silent.then_some(self.heads_agreed);
        let (what, own) = (Pushed::Head, State::None);
        let mut listener = Listener { ear, what, needs_heads: true, doubts, own, agreed: false };
        let mut follows = Follows::none();
        let params = match wish {
            Wish::Heads => None,
            Wish::Logs { filter } => {
                listener.what = Pushed::Log;
                Some([br#"["logs","#, filter.as_slice(), b"]"].concat())
            }
            Wish::Other { params } => {
                (listener.what, listener.needs_heads) = (Pushed::Other, false);
                Some(params.clone())
            }
        };
        if let Some(params) = params {
            listener.own = State::Asked;
            self.ask(Purpose::Own(key), params, &mut follows);
        }
        self.listeners.insert(key, listener);
        self.go_on(key, &mut follows);
        (key, follows)
    }

    /// A listener leaves.
    pub(super) fn remove(&mut self, key: Key) -> Vec<Ask> {
        let mut asks = Vec::new();
        if let Some(listener) = self.listeners.remove(&key) {
            self.leave(listener.own, &mut asks);
            self.leave_heads(&mut asks);
        }
        asks
    }

    /// The provider has agreed, by this id.
    pub(super) fn on_agreed(&mut self, purpose: Purpose, id: &str) -> Result<Follows<E>, Twice> {
        self.asked = self.asked.saturating_sub(1);
        if self.by_id.contains_key(id) {
            return Err(Twice);
        }
        let mut follows = Follows::none();
        let agreed = State::Agreed(id.to_owned());
        match purpose {
            Purpose::Heads => {
                self.heads = agreed;
                self.heads_agreed += 1;
            }
            Purpose::Own(key) => {
                let Some(listener) = self.listeners.get_mut(&key) else {
                    follows.asks.push(Ask::Unsubscribe { id: id.to_owned() });
                    return Ok(follows);
                };
                listener.own = agreed;
            }
        }
        self.by_id.insert(id.to_owned(), purpose);
        match purpose {
            Purpose::Own(key) => self.go_on(key, &mut follows),
            Purpose::Heads => {
                let waiting: Vec<Key> = self.waiting_for_heads().collect();
                for key in waiting {
                    self.go_on(key, &mut follows);
                }
                self.leave_heads(&mut follows.asks);
            }
        }
        Ok(follows)
    }

    /// The provider has refused.
    pub(super) fn on_refused(&mut self, purpose: Purpose) -> Follows<E> {
        self.asked = self.asked.saturating_sub(1);
        let mut follows = Follows::none();
        let refused: Vec<Key> = match purpose {
            Purpose::Own(key) => vec![key],
            Purpose::Heads => {
                self.heads = State::None;
                self.waiting_for_heads().collect()
            }
        };
        for key in refused {
            let Some(listener) = self.listeners.remove(&key) else { continue };
            if matches!(purpose, Purpose::Heads) {
                self.leave(listener.own, &mut follows.asks);
            }
            follows.refused.push(listener.ear);
        }
        self.leave_heads(&mut follows.asks);
        follows
    }

    /// Who hears a push, and as what. Nobody, where the id is none of ours, or comes before the provider's agreement.
    pub(super) fn heard_by(&self, id: &str) -> (Pushed, Vec<Key>) {
        match self.by_id.get(id) {
            Some(Purpose::Heads) => {
                let hear = self.listeners.iter().filter(|(_, listener)| listener.agreed && listener.needs_heads);
                (Pushed::Head, hear.map(|(&key, _)| key).collect())
            }
            Some(Purpose::Own(key)) => match self.listeners.get(key) {
                Some(listener) if listener.agreed => (listener.what, vec![*key]),
                _ => (Pushed::Other, Vec::new()),
            },
            None => (Pushed::Other, Vec::new()),
        }
    }

    /// A listener's ear, while it listens.
    pub(super) fn ear(&self, key: Key) -> Option<E> {
        self.listeners.get(&key).map(|listener| listener.ear.clone())
    }

    /// The connection is over: all who listened, and whether they had their agreement.
    pub(super) fn end(&mut self) -> Vec<(E, bool)> {
        let over = std::mem::replace(self, Self { last: self.last, ..Self::default() });
        over.listeners.into_values().map(|listener| (listener.ear, listener.agreed)).collect()
    }

    fn ask(&mut self, purpose: Purpose, params: Vec<u8>, follows: &mut Follows<E>) {
        self.asked += 1;
        follows.asks.push(Ask::Subscribe { purpose, params });
    }

    /// Does what is next for a listener: its own first, then heads, then it has its agreement.
    fn go_on(&mut self, key: Key, follows: &mut Follows<E>) {
        let Some(listener) = self.listeners.get_mut(&key) else { return };
        if matches!(listener.own, State::Asked) {
            return;
        }
        let doubts = listener.needs_heads && listener.doubts == Some(self.heads_agreed);
        if doubts && matches!(self.heads, State::Agreed(_)) {
            let heads = std::mem::replace(&mut self.heads, State::None);
            self.leave(heads, &mut follows.asks);
        }
        let Some(listener) = self.listeners.get_mut(&key) else { return };
        match self.heads {
            State::None if listener.needs_heads => {
                self.heads = State::Asked;
                self.ask(Purpose::Heads, HEADS.to_vec(), follows);
            }
            State::Asked if listener.needs_heads => {}
            _ => {
                listener.agreed = true;
                follows.agreed.push(key);
            }
        }
    }

    fn waiting_for_heads(&self) -> impl Iterator<Item = Key> + '_ {
        let waits =
            |listener: &Listener<E>| listener.needs_heads && !listener.agreed && !matches!(listener.own, State::Asked);
        self.listeners.iter().filter(move |(_, listener)| waits(listener)).map(|(&key, _)| key)
    }

    fn wants_heads(&self) -> bool {
        self.listeners.values().any(|listener| listener.needs_heads)
    }

    /// Gives up the subscription to heads, where nobody needs them.
    fn leave_heads(&mut self, asks: &mut Vec<Ask>) {
        if matches!(self.heads, State::Agreed(_)) && !self.wants_heads() {
            let heads = std::mem::replace(&mut self.heads, State::None);
            self.leave(heads, asks);
        }
    }

    fn leave(&mut self, state: State, asks: &mut Vec<Ask>) {
        if let State::Agreed(id) = state {
            self.by_id.remove(&id);
            asks.push(Ask::Unsubscribe { id });
        }
    }
}

impl<E> Follows<E> {
    const fn none() -> Self {
        Self { asks: Vec::new(), agreed: Vec::new(), refused: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Here = Subscriptions<char>;

    fn logs() -> Wish {
        Wish::Logs { filter: br#"{"address":"0xaa"}"#.to_vec() }
    }

    fn subscribe(purpose: Purpose, params: &str) -> Ask {
        Ask::Subscribe { purpose, params: params.as_bytes().to_vec() }
    }

    fn unsubscribe(id: &str) -> Ask {
        Ask::Unsubscribe { id: id.to_owned() }
    }

    /// With a listener that hears heads, by the id `h`.
    fn with_heads() -> (Here, Key) {
        let mut here = Here::default();
        let (key, _) = here.add(&Wish::Heads, 'a', false);
        here.on_agreed(Purpose::Heads, "h").unwrap();
        (here, key)
    }

    #[test]
    fn heads_are_subscribed_to_once_and_left_with_the_last_listener() {
        let mut here = Here::default();
        let (first, follows) = here.add(&Wish::Heads, 'a', false);
        assert_eq!(follows.asks, [subscribe(Purpose::Heads, r#"["newHeads"]"#)]);
        let (second, follows) = here.add(&Wish::Heads, 'b', false);
        assert_eq!((follows.asks, follows.agreed), (vec![], vec![]), "it waits for the same answer");
        assert_eq!(here.on_agreed(Purpose::Heads, "h").unwrap().agreed, [first, second]);
        let (third, follows) = here.add(&Wish::Heads, 'c', false);
        assert_eq!((follows.asks, follows.agreed), (vec![], vec![third]), "it is there already");
        assert_eq!(here.heard_by("h"), (Pushed::Head, vec![first, second, third]));
        assert_eq!(here.remove(first), []);
        assert_eq!(here.remove(first), []);
        assert_eq!(here.remove(third), []);
        assert_eq!(here.remove(second), [unsubscribe("h")]);
        assert_eq!((here.count(), here.is_idle()), (0, true));
        assert!(here.heard_by("h").1.is_empty());
    }

    #[test]
    fn logs_come_before_the_heads_beside_them() {
        let mut here = Here::default();
        let (key, follows) = here.add(&logs(), 'a', false);
        assert_eq!(follows.asks, [subscribe(Purpose::Own(key), r#"["logs",{"address":"0xaa"}]"#)]);
        let follows = here.on_agreed(Purpose::Own(key), "l").unwrap();
        assert_eq!((follows.asks, follows.agreed), (vec![subscribe(Purpose::Heads, r#"["newHeads"]"#)], vec![]));
        assert!(here.heard_by("l").1.is_empty(), "nothing is heard before the agreement");
        assert_eq!(here.on_agreed(Purpose::Heads, "h").unwrap().agreed, [key]);
        assert_eq!((here.heard_by("l"), here.heard_by("h")), ((Pushed::Log, vec![key]), (Pushed::Head, vec![key])));
        assert_eq!(here.count(), 2);
        assert_eq!(here.remove(key), [unsubscribe("l"), unsubscribe("h")]);
    }

    #[test]
    fn where_heads_are_already_a_log_listener_hears_them_from_its_agreement_on() {
        let (mut here, first) = with_heads();
        let (key, _) = here.add(&logs(), 'b', false);
        assert_eq!(here.heard_by("h").1, [first]);
        assert_eq!(here.on_agreed(Purpose::Own(key), "l").unwrap().agreed, [key]);
        assert_eq!(here.heard_by("h").1, [first, key]);
        assert_eq!(here.remove(first), [], "the other still needs them");
        assert_eq!(here.remove(key), [unsubscribe("l"), unsubscribe("h")]);
    }

    #[test]
    fn heads_that_are_silent_for_too_long_are_asked_for_anew_once_for_all() {
        let (mut here, first) = with_heads();
        let (second, follows) = here.add(&Wish::Heads, 'b', true);
        let anew = [unsubscribe("h"), subscribe(Purpose::Heads, r#"["newHeads"]"#)];
        assert_eq!((follows.asks.as_slice(), follows.agreed), (&anew[..], vec![]));
        assert!(here.heard_by("h").1.is_empty() && here.count() == 1);
        let (third, follows) = here.add(&logs(), 'c', true);
        assert_eq!(follows.asks.len(), 1, "its logs");
        assert_eq!(here.on_agreed(Purpose::Heads, "i").unwrap().agreed, [second]);
        assert_eq!(here.heard_by("i"), (Pushed::Head, vec![first, second]));
        // They are others by now than those that it had its doubts about.
        let follows = here.on_agreed(Purpose::Own(third), "l").unwrap();
        assert_eq!((follows.asks, follows.agreed), (vec![], vec![third]));
        let (fourth, _) = here.add(&logs(), 'd', true);
        let follows = here.on_agreed(Purpose::Own(fourth), "m").unwrap();
        assert_eq!(follows.asks, [unsubscribe("i"), subscribe(Purpose::Heads, r#"["newHeads"]"#)]);
        // Refused, they are nobody's, and whoever comes next asks for them.
        let follows = here.on_refused(Purpose::Heads);
        assert_eq!((follows.refused, follows.asks), (vec!['d'], vec![unsubscribe("m")]));
        let (_, follows) = here.add(&Wish::Heads, 'e', false);
        assert_eq!(follows.asks, [subscribe(Purpose::Heads, r#"["newHeads"]"#)]);
        let (other, _) = here.add(&Wish::Other { params: b"[]".to_vec() }, 'f', true);
        assert_eq!(here.on_agreed(Purpose::Own(other), "o").unwrap().asks, []);
    }

    #[test]
    fn whatever_else_is_heard_alone() {
        let (mut here, _) = with_heads();
        let (key, follows) = here.add(&Wish::Other { params: br#"["syncing"]"#.to_vec() }, 'b', false);
        assert_eq!(follows.asks, [subscribe(Purpose::Own(key), r#"["syncing"]"#)]);
        assert_eq!(here.on_agreed(Purpose::Own(key), "s").unwrap().agreed, [key]);
        assert_eq!(here.heard_by("s"), (Pushed::Other, vec![key]));
        assert!(here.heard_by("nobody's").1.is_empty());
        assert_eq!((here.ear(key), here.ear(9)), (Some('b'), None));
    }

    #[test]
    fn an_agreement_that_nobody_waits_for_any_more_is_taken_back() {
        let mut here = Here::default();
        let (key, _) = here.add(&logs(), 'a', false);
        assert_eq!((here.remove(key), here.count()), (vec![], 1));
        assert_eq!(here.on_agreed(Purpose::Own(key), "l").unwrap().asks, [unsubscribe("l")]);
        let (key, _) = here.add(&Wish::Heads, 'a', false);
        assert_eq!(here.remove(key), []);
        assert_eq!(here.on_agreed(Purpose::Heads, "h").unwrap().asks, [unsubscribe("h")]);
        assert_eq!((here.count(), here.heard_by("h").1), (0, vec![]));
        // One that comes meanwhile takes it over.
        let (gone, _) = here.add(&Wish::Heads, 'a', false);
        here.remove(gone);
        let (key, follows) = here.add(&Wish::Heads, 'b', false);
        assert_eq!((follows.asks, here.on_agreed(Purpose::Heads, "i").unwrap().agreed), (vec![], vec![key]));
    }

    #[test]
    fn a_refusal_is_told_to_all_who_wait_for_it() {
        let mut here = Here::default();
        let (logs_first, _) = here.add(&logs(), 'a', false);
        here.add(&Wish::Heads, 'b', false);
        here.on_agreed(Purpose::Own(logs_first), "l").unwrap();
        let (waits, _) = here.add(&logs(), 'c', false);
        let follows = here.on_refused(Purpose::Heads);
        assert_eq!((follows.refused, follows.asks), (vec!['a', 'b'], vec![unsubscribe("l")]));
        // The one whose logs are not agreed on yet asks for heads again.
        assert_eq!(
            here.on_agreed(Purpose::Own(waits), "m").unwrap().asks,
            [subscribe(Purpose::Heads, r#"["newHeads"]"#)]
        );
        let (other, _) = here.add(&Wish::Other { params: b"[]".to_vec() }, 'd', false);
        assert_eq!(here.on_refused(Purpose::Own(other)).refused, ['d']);
        assert!(here.on_refused(Purpose::Own(other)).refused.is_empty());
        here.on_agreed(Purpose::Heads, "h").unwrap();
        assert_eq!(here.end(), [('c', true)]);
        assert_eq!((here.count(), here.is_idle()), (0, true));
    }

    #[test]
    fn one_id_for_two_subscriptions_is_no_id() {
        let (mut here, _) = with_heads();
        let (key, _) = here.add(&logs(), 'b', false);
        assert_eq!(here.on_agreed(Purpose::Own(key), "h"), Err(Twice));
    }

    #[test]
    fn room_is_kept_for_the_heads_that_belong_to_logs() {
        let mut here = Here::default();
        assert!(here.has_room_for(&logs(), 2) && !here.has_room_for(&logs(), 1) && here.has_room_for(&Wish::Heads, 1));
        let (key, _) = here.add(&logs(), 'a', false);
        let other = Wish::Other { params: vec![] };
        assert!(!here.has_room_for(&other, 2) && here.has_room_for(&other, 3), "its heads are to come");
        here.on_agreed(Purpose::Own(key), "l").unwrap();
        assert!(!here.has_room_for(&logs(), 2) && here.has_room_for(&logs(), 3) && here.has_room_for(&Wish::Heads, 2));
        assert_eq!(here.count(), 2);
    }
}
