//! A store of tenants for a node under test: plans, keys, and what the ledger says was used.

use std::time::{SystemTime, UNIX_EPOCH};

use livechain::ledger::{
    Group, Grouping, NewKeyName, NewKeyRow, PlanText, RulesText, Store, StoreAddress, TenantRow, UsageLine, UsageQuery,
};
use livechain::tenant::Usage;
use livechain::tenant::key::{KEY_RANDOM_BYTES, KeyId, KeyText, NewKey, Pepper};

use super::{Setup, eventually};

/// What keys are hashed under in all tests.
pub const PEPPER: &str = "a pepper that is good for tests and nothing else";

/// What a customer asks for.
pub const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1","latest"]}"#;

/// See the module. The store is removed with it.
pub struct Shop {
    store: Store,
    address: String,
    tenant: TenantRow,
    pepper: Pepper,
    /// Keys made so far: the next one's seed.
    made: u8,
    _dir: Option<tempfile::TempDir>,
}

impl Shop {
    /// An SQLite file with a tenant, `acme`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}", dir.path().join("ledger.db").display());
        Self { _dir: Some(dir), ..Self::at(&address) }
    }

    /// The same in a store of somebody else's.
    pub fn at(address: &str) -> Self {
        let mut store = Store::open(&address.parse::<StoreAddress>().unwrap()).unwrap();
        let tenant = store.create_tenant("acme", "", now_s()).unwrap();
        let pepper = Pepper::new(PEPPER.as_bytes()).unwrap();
        Self { store, address: address.to_owned(), tenant, pepper, made: 0, _dir: None }
    }

    /// `setup` with this store.
    pub fn in_setup(&self, setup: Setup) -> Setup {
        setup
            .set("tenants", &format!("store = \"{}\"", self.address))
            .set("tenants", "pepper = \"${TEST_PEPPER}\"")
            .env("TEST_PEPPER", PEPPER)
    }

    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// A plan, as JSON.
    pub fn plan(&mut self, name: &str, text: &str) -> &mut Self {
        self.store.create_plan(name, &PlanText::parse(text).unwrap(), now_s()).unwrap();
        self
    }

    /// A key of that plan: its text and its id.
    pub fn key(&mut self, plan: &str) -> (String, KeyId) {
        self.key_with(plan, None, None)
    }

    /// The same with rules of its own, as JSON, and an end, in seconds since 1970.
    pub fn key_with(&mut self, plan: &str, rules: Option<&str>, expires_s: Option<u64>) -> (String, KeyId) {
        let (text, name) = self.next_key();
        let id = name.id;
        let row = NewKeyRow {
            name,
            tenant: self.tenant.id,
            plan: self.store.plan(plan).unwrap().id,
            rules: rules.map(|rules| Box::new(RulesText::parse(rules).unwrap())),
            label: String::new(),
            expires_s,
        };
        self.store.create_key(&row, now_s()).unwrap();
        (text, id)
    }

    /// A key in another's place, which is none from now on.
    pub fn rotated(&mut self, key: KeyId) -> (String, KeyId) {
        let (text, name) = self.next_key();
        self.store.rotate_key(key, name, 0, now_s()).unwrap();
        (text, name.id)
    }

    /// A key to be made: its text, and what the store is told of it.
    fn next_key(&mut self) -> (String, NewKeyName) {
        self.made += 1;
        let key = NewKey::from_random(&[self.made; KEY_RANDOM_BYTES]);
        let hash = self.pepper.hash(KeyText::read(key.expose().as_bytes()).unwrap());
        (key.expose().to_owned(), NewKeyName { id: key.id(), hash, pepper: self.pepper.own_tag() })
    }

    pub fn revoke(&mut self, key: KeyId) {
        self.store.revoke_key(key, now_s()).unwrap();
    }

    /// What was used, by what.
    pub fn usage(&mut self, by: Grouping) -> Vec<UsageLine> {
        let query = UsageQuery { tenant: None, key: None, from_minute: 0, to_minute: u32::MAX, by };
        self.store.usage(&query).unwrap()
    }

    /// The same as [`Shop::used`] over a new connection, unless the store is gone.
    pub fn try_used(&mut self, key: KeyId) -> Option<Usage> {
        self.store = Store::open(&self.address.parse().unwrap()).ok()?;
        let query = UsageQuery { tenant: None, key: None, from_minute: 0, to_minute: u32::MAX, by: Grouping::Key };
        let lines = self.store.usage(&query).ok()?;
        lines.into_iter().find(|line| line.group == Group::Key(key)).map(|line| line.usage)
    }

    /// All that a key has used.
    pub fn used(&mut self, key: KeyId) -> Usage {
        let lines = self.usage(Grouping::Key);
        lines.into_iter().find(|line| line.group == Group::Key(key)).map(|line| line.usage).unwrap_or_default()
    }

    /// Waits until a key has used so many calls.
    pub fn wait_calls(&mut self, key: KeyId, calls: u64) -> Usage {
        eventually("the ledger has the calls", || Some(self.used(key)).filter(|used| used.calls >= calls))
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
