//! Tenants as this shard knows them: the newest roster, an account for whoever was here lately, and what all have used.
//!
//! A connection remembers who it was let in for ([`Guest`]), so that a request costs a comparison and not a hash. What
//! it remembers holds for one generation of the roster; then the account is looked at again, and where its key is gone
//! its WebSockets are closed, silent ones too: control's bell has woken the shard.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::Shard;
use super::clock::Clock;
use super::websocket::Session;
use crate::limits;
use crate::link::Slot;
use crate::tenant::key::{KeyText, RememberedKey};
use crate::tenant::token::{RememberedToken, TokenCache, TokenEntry, looks_like_token};
use crate::tenant::{
    Account, AddressBlock, KeyPlaces, Known, Refused, Roster, Shop, Unauthorized, UsageTable, Verdict, Visit, Who,
    shown_key,
};
use crate::time::Instant;
use crate::websocket::CloseCode;

/// What a WebSocket is told whose key has expired or was revoked.
pub(crate) const GONE: &str = "this key is not good any more";

/// See the module.
pub(crate) struct Tenants {
    slot: Arc<Slot<Roster>>,
    generation: Cell<u64>,
    roster: RefCell<Arc<Roster>>,
    /// There are none: everybody is let in.
    is_open: Cell<bool>,
    accounts: RefCell<HashMap<Seat, Held>>,
    /// Good tokens that were shown lately.
    tokens: RefCell<TokenCache>,
    /// Sessions that have an account, by their number.
    sessions: RefCell<BTreeMap<u64, Weak<Session>>>,
    /// When the first of their keys expires.
    expires: Cell<Instant>,
    usage: RefCell<UsageTable>,
    /// Calls that are on nobody's bill yet.
    pub(super) under_way: Cell<usize>,
}

/// What has an account. Tokens of one subject share a quota, and each allows what it says: so each has its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Seat {
    Who(Who),
    /// Where its entry is, which its account holds.
    Token(usize),
}

struct Held {
    account: Rc<Account>,
    /// The token's, where it is one.
    _token: Option<Rc<TokenEntry>>,
    /// Since the last sweep.
    used: bool,
}

/// Who a connection was let in for.
pub(crate) struct Guest {
    generation: u64,
    shown: Shown,
    client: AddressBlock,
    account: Rc<Account>,
}

enum Shown {
    Nothing,
    Key(RememberedKey),
    Token(RememberedToken),
}

/// Why somebody is not let in.
#[derive(Clone, Copy)]
pub(crate) enum Denied {
    Verdict(Verdict),
    /// The node has no room for one more who is active.
    Full,
}

impl Denied {
    pub(super) const fn over_quota(self) -> Option<Refused> {
        match self {
            Self::Verdict(Verdict::OverQuota(refused)) => Some(refused),
            _ => None,
        }
    }
}

impl From<Verdict> for Denied {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<Unauthorized> for Denied {
    fn from(why: Unauthorized) -> Self {
        Self::Verdict(why.into())
    }
}

impl Tenants {
    pub(super) fn new(slot: Arc<Slot<Roster>>) -> Self {
        let (generation, roster) = slot.load();
        Self {
            slot,
            generation: Cell::new(generation),
            is_open: Cell::new(roster.shop().is_none()),
            roster: RefCell::new(roster),
            accounts: RefCell::default(),
            tokens: RefCell::default(),
            sessions: RefCell::default(),
            expires: Cell::new(Instant::NEVER),
            usage: RefCell::new(UsageTable::new(limits::USAGE_ROWS_PER_SHARD_MAX)),
            under_way: Cell::new(0),
        }
    }

    /// Everybody is let in, and nothing is counted.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// What the slot's is not: there is a newer one.
    #[inline]
    pub(super) fn is_old(&self) -> bool {
        self.slot.generation() != self.generation.get()
    }

    /// Takes over the newest roster: accounts of keys that changed are replaced, those of keys that are gone closed, and
    /// with them their WebSockets.
    #[cold]
    pub(super) fn take_roster(&self, region: &str, now: Instant) {
        let (generation, roster) = self.slot.load();
        self.generation.set(generation);
        self.is_open.set(roster.shop().is_none());
        self.accounts.borrow_mut().retain(|_, held| {
            let known = &held.account.known;
            match roster.shop().map(|shop| (shop, shop.again(known, now))) {
                Some((_, Ok(again))) if again.is_same(known) => true,
                Some((shop, Ok(again))) => {
                    shop.lend(&again, held.account.words());
                    held.account = held.account.replaced(again);
                    true
                }
                Some((_, Err(_))) | None => {
                    held.account.close();
                    false
                }
            }
        });
        if roster.shop().is_none_or(|shop| shop.tokens.is_none()) {
            self.tokens.take();
        }
        // The old one is freed by control, which holds it for as long as we did.
        *self.roster.borrow_mut() = roster;
        self.close_those_who_are_gone(region, now);
    }

    fn close_those_who_are_gone(&self, region: &str, now: Instant) {
        let sessions: Vec<_> = self.sessions.borrow().values().filter_map(Weak::upgrade).collect();
        let mut expires = Instant::NEVER;
        for session in sessions {
            if session.is_gone(region, now) {
                session.close_because(CloseCode::POLICY, GONE);
            } else {
                expires = expires.min(session.expires());
            }
        }
        self.expires.set(expires);
    }

    /// Lets in who shows `places`, or says why not. `guest` is who the connection was let in for before, if anybody.
    pub(crate) fn admit(
        &self,
        guest: &mut Option<Box<Guest>>,
        places: &KeyPlaces<'_>,
        visit: &Visit<'_>,
        clock: &Clock,
    ) -> Result<Rc<Account>, Denied> {
        let (shown, client) = (shown_key(places).map_err(Unauthorized::from)?, AddressBlock::of(visit.client));
        let account = match guest.as_ref().filter(|guest| guest.is(self.generation.get(), shown, client)) {
            Some(guest) => Rc::clone(&guest.account),
            None => self.find(guest, shown, client, clock)?,
        };
        account.visit(visit, clock.now())?;
        Ok(account)
    }

    fn find(
        &self,
        guest: &mut Option<Box<Guest>>,
        shown: Option<&[u8]>,
        client: AddressBlock,
        clock: &Clock,
    ) -> Result<Rc<Account>, Denied> {
        let roster = self.roster.borrow();
        // Asked only where there are tenants.
        let shop = roster.shop().ok_or(Unauthorized::Unknown)?;
        let token = shown.filter(|shown| looks_like_token(shown)).zip(shop.tokens.as_ref());
        let (seat, known, token) = if let Some((text, tokens)) = token {
            let unix_s = clock.unix_seconds();
            let token = self.tokens.borrow_mut().find(tokens, text, unix_s).map_err(Unauthorized::Token)?;
            let known = shop.bearer(&token, clock.now(), unix_s)?;
            (Seat::Token(Rc::as_ptr(&token).addr()), known, Some(token))
        } else {
            let known = shop.find(shown, client, clock.now())?;
            (Seat::Who(known.who), known, None)
        };
        let remembered = match shown {
            None => Shown::Nothing,
            Some(text) if token.is_some() => Shown::Token(RememberedToken::new(text)),
            Some(text) => Shown::Key(KeyText::read(text).map_err(Unauthorized::from)?.remember()),
        };
        let account = match self.account(seat, &known) {
            Some(account) => account,
            None => self.begin(shop, seat, known, token)?,
        };
        let generation = self.generation.get();
        *guest = Some(Box::new(Guest { generation, shown: remembered, client, account: Rc::clone(&account) }));
        Ok(account)
    }

    fn account(&self, seat: Seat, known: &Known) -> Option<Rc<Account>> {
        let mut accounts = self.accounts.borrow_mut();
        let held = accounts.get_mut(&seat)?;
        held.used = true;
        // A token names its plan, and another one may have that name now.
        if !held.account.known.goes_by(known) {
            held.account = held.account.replaced(known.clone());
        }
        Some(Rc::clone(&held.account))
    }

    fn begin(
        &self,
        shop: &Shop,
        seat: Seat,
        known: Known,
        token: Option<Rc<TokenEntry>>,
    ) -> Result<Rc<Account>, Denied> {
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= limits::ACCOUNTS_PER_SHARD_MAX {
            return Err(Denied::Full);
        }
        let words = shop.words(&known).ok_or(Denied::Full)?;
        let account = Account::new(known, words);
        accounts.insert(seat, Held { account: Rc::clone(&account), _token: token, used: true });
        Ok(account)
    }

    /// Forgets accounts that nobody holds and nobody has come for since the last time.
    pub(super) fn sweep(&self) {
        let is_used = |held: &mut Held| std::mem::take(&mut held.used) || Rc::strong_count(&held.account) > 1;
        self.accounts.borrow_mut().retain(|_, held| is_used(held));
    }

    /// Looks at `session` when keys are revoked, for as long as it is there.
    pub(crate) fn watch(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().insert(session.number(), Rc::downgrade(session));
        self.expires.set(self.expires.get().min(session.expires()));
    }

    pub(crate) fn unwatch(&self, session: u64) {
        self.sessions.borrow_mut().remove(&session);
    }

    /// What has been used since it was taken last, to be added to.
    pub(crate) fn usage(&self) -> std::cell::RefMut<'_, UsageTable> {
        self.usage.borrow_mut()
    }
}

impl Guest {
    fn is(&self, generation: u64, shown: Option<&[u8]>, client: AddressBlock) -> bool {
        self.generation == generation
            && match (&self.shown, shown) {
                (Shown::Key(known), Some(shown)) => known.is(shown),
                (Shown::Token(known), Some(shown)) => known.is(shown),
                (Shown::Nothing, None) => self.client == client,
                _ => false,
            }
    }
}

impl Shard {
    /// Closes WebSockets whose key has expired.
    pub(super) fn close_expired(&self) {
        if self.clock.now() >= self.tenants.expires.get() {
            let region = &self.view().snapshot.config.node.region;
            self.tenants.close_those_who_are_gone(region, self.clock.now());
        }
    }
}
