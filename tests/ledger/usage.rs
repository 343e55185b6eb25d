//! Usage: counted once, summed right, kept through every roll-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use livechain::ledger::{
    Committed, Group, Grouping, MonthUnits, Retention, Store, StoreError, UsageBatch, UsageLine, UsageQuery, UsageRow,
};
use livechain::tenant::key::KeyId;
use livechain::tenant::{TenantId, Usage};

use super::place::{Place, on_both};

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;
/// 2026-11-22 00:00.
pub(crate) const TODAY: u32 = 29_921_760;

/// The same numbers for the same seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    pub(crate) fn row(&mut self, minutes: std::ops::Range<u32>) -> UsageRow {
        let minute = minutes.start + u32::try_from(self.below((minutes.end - minutes.start).into())).unwrap();
        let calls = 1 + self.below(9);
        // Some keys' first bit is set, which is a sign to the store; some rows have no key, chain or provider.
        let key = [0, 1, 2, u64::MAX, 1 << 63][usize::try_from(self.below(5)).unwrap()];
        UsageRow {
            tenant: TenantId(u32::try_from(self.below(4)).unwrap()),
            key: KeyId(key),
            chain: Arc::from(["", "ethereum", "base"][usize::try_from(self.below(3)).unwrap()]),
            method: ["eth_call", "eth_getLogs", "other"][usize::try_from(self.below(3)).unwrap()],
            provider: Arc::from(["", "alpha", "bravo"][usize::try_from(self.below(3)).unwrap()]),
            minute,
            usage: Usage {
                calls,
                billable: calls - 1,
                units: (calls - 1) * 20,
                errors: [1, self.below(3), 0],
                bytes_in: calls * 100,
                bytes_out: calls * 1_000 + self.below(1_000),
                cache_hits: self.below(2),
                attempts: calls + self.below(2),
            },
        }
    }
}

pub(crate) fn batch(boot: u128, sequence: u64, rows: Vec<UsageRow>) -> UsageBatch {
    UsageBatch { node: "node-a".into(), boot, sequence, rows }
}

/// Of all there is, ever.
pub(crate) fn all(by: Grouping) -> UsageQuery {
    UsageQuery { tenant: None, key: None, from_minute: 0, to_minute: u32::MAX, by }
}

pub(crate) fn total(store: &mut Store) -> Usage {
    let mut total = Usage::default();
    for line in store.usage(&all(Grouping::Tenant)).unwrap() {
        total.add(&line.usage);
    }
    total
}

pub(crate) fn sum(rows: &[UsageRow]) -> Usage {
    let mut total = Usage::default();
    for row in rows {
        total.add(&row.usage);
    }
    total
}

fn rows(numbers: &mut Numbers, count: usize, minutes: std::ops::Range<u32>) -> Vec<UsageRow> {
    (0..count).map(|_| numbers.row(minutes.clone())).collect()
}

fn grouped(rows: &[UsageRow], group: impl Fn(&UsageRow) -> Group) -> Vec<UsageLine> {
    let mut lines: BTreeMap<Group, Usage> = BTreeMap::new();
    for row in rows {
        lines.entry(group(row)).or_default().add(&row.usage);
    }
    lines.into_iter().map(|(group, usage)| UsageLine { group, usage }).collect()
}

/// What is restored when a node starts, of the days from `since` on.
fn months(rows: &[UsageRow], since: u32) -> Vec<(KeyId, u64)> {
    let mut sums: BTreeMap<KeyId, u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.minute >= since && row.usage.units > 0) {
        *sums.entry(row.key).or_default() += row.usage.units;
    }
    sums.into_iter().collect()
}

fn stored_months(store: &mut Store, since: u32) -> Vec<(KeyId, u64)> {
    let mut found: Vec<_> =
        store.month_units(since).unwrap().into_iter().map(|MonthUnits { key, units, .. }| (key, units)).collect();
    found.sort_unstable();
    found
}

fn whole_round(store: &mut Store, retention: &Retention, now: u32) -> usize {
    let mut moved = 0;
    for _ in 0..1_000 {
        let done = store.roll_up(retention, now).unwrap();
        moved += done.rows;
        if !done.more {
            return moved;
        }
    }
    panic!("a round has no end");
}

#[test]
fn a_batch_counts_once_however_often_it_is_handed_in() {
    on_both(|place| {
        let mut store = place.open();
        let numbers = &mut Numbers(1);
        let (first, second) = (rows(numbers, 50, TODAY..TODAY + 5), rows(numbers, 50, TODAY..TODAY + 5));
        for (batch, expected) in [
            (batch(7, 1, first.clone()), Committed::Now),
            (batch(7, 1, first.clone()), Committed::Before),
            // Whatever it says the second time.
            (batch(7, 1, second.clone()), Committed::Before),
            (batch(7, 3, second.clone()), Committed::Now),
            (batch(7, 2, second.clone()), Committed::Before),
            (batch(7, 3, second.clone()), Committed::Before),
            // Another start of the node, and another node of the same name.
            (batch(8, 1, first.clone()), Committed::Now),
            (batch(u128::MAX, 1, first.clone()), Committed::Now),
            (UsageBatch { node: "node-b".into(), ..batch(7, 1, first.clone()) }, Committed::Now),
            (batch(9, 1, Vec::new()), Committed::Now),
        ] {
            assert_eq!(store.commit(&batch), Ok(expected), "{} {:x} {}", place.name(), batch.boot, batch.sequence);
        }
        let counted = [first.clone(), first.clone(), first.clone(), first, second].concat();
        assert_eq!(total(&mut store), sum(&counted));
        assert_eq!(stored_months(&mut place.open(), 0), months(&counted, 0));
    });
}

#[test]
fn nodes_that_write_and_repeat_at_once_count_each_batch_once() {
    on_both(|place| {
        place.open();
        let batches: Vec<_> = (0..4_u128)
            .map(|boot| {
                let numbers = &mut Numbers(u64::try_from(boot).unwrap());
                let rows = |sequence| batch(boot, sequence, rows(numbers, 200, TODAY..TODAY + 3));
                (1..8).map(rows).collect::<Vec<_>>()
            })
            .collect();
        std::thread::scope(|scope| {
            // Each boot twice: its connection broke, and the server goes on with what it was told before.
            for batches in batches.iter().chain(&batches) {
                scope.spawn(move || {
                    let mut store = place.open();
                    for batch in batches {
                        while let Err(error) = store.commit(batch) {
                            assert!(error.passes(), "{}: {error}", place.name());
                        }
                    }
                });
            }
        });
        let rows: Vec<_> = batches.into_iter().flatten().flat_map(|batch| batch.rows).collect();
        assert_eq!(total(&mut place.open()), sum(&rows), "{}", place.name());
    });
}

#[test]
fn usage_is_summed_by_whatever_is_asked_for() {
    on_both(|place| {
        let mut store = place.open();
        // Around the end of a month and of a year, and on the calendar's first day.
        let new_year = 29_979_360;
        let numbers = &mut Numbers(3);
        let rows = [
            rows(numbers, 300, new_year - 3 * HOUR..new_year + 3 * HOUR),
            rows(numbers, 100, TODAY..TODAY + 3 * DAY),
            rows(numbers, 20, 0..DAY),
        ]
        .concat();
        store.commit(&batch(1, 1, rows.clone())).unwrap();
        let month = |minute| match minute {
            0..DAY => 0,
            29_891_520..29_934_720 => 29_891_520,
            29_934_720..29_979_360 => 29_934_720,
            _ => new_year,
        };
        let by = |by, row: &UsageRow| match by {
            Grouping::Hour => Group::Time(row.minute - row.minute % HOUR),
            Grouping::Day => Group::Time(row.minute - row.minute % DAY),
            Grouping::Month => Group::Time(month(row.minute)),
            Grouping::Tenant => Group::Tenant(row.tenant),
            Grouping::Key => Group::Key(row.key),
            Grouping::Chain => Group::Word(row.chain.to_string()),
            Grouping::Method => Group::Word(row.method.to_owned()),
            Grouping::Provider => Group::Word(row.provider.to_string()),
        };
        for grouping in [
            Grouping::Hour,
            Grouping::Day,
            Grouping::Month,
            Grouping::Tenant,
            Grouping::Key,
            Grouping::Chain,
            Grouping::Method,
            Grouping::Provider,
        ] {
            for (tenant, key, from_minute, to_minute) in [
                (None, None, 0, u32::MAX),
                (Some(TenantId(2)), None, 0, u32::MAX),
                (Some(TenantId(1)), Some(KeyId(u64::MAX)), 0, new_year + 7),
                (None, Some(KeyId(2)), TODAY + 11, new_year),
                (Some(TenantId(77)), None, 0, u32::MAX),
                (None, None, 5, 5),
            ] {
                let query = UsageQuery { tenant, key, from_minute, to_minute, by: grouping };
                let wanted = |row: &&UsageRow| {
                    tenant.is_none_or(|tenant| row.tenant == tenant)
                        && key.is_none_or(|key| row.key == key)
                        && (from_minute..to_minute).contains(&row.minute)
                };
                let wanted: Vec<_> = rows.iter().filter(wanted).cloned().collect();
                assert_eq!(store.usage(&query).unwrap(), grouped(&wanted, |row| by(grouping, row)), "{query:?}");
            }
        }
    });
}

#[test]
fn a_report_that_nobody_reads_is_refused() {
    let place = Place::sqlite();
    let mut store = place.open();
    let keys = |from: u64| {
        let row = |n| UsageRow { key: KeyId(n), ..Numbers(0).row(TODAY..TODAY + 1) };
        (from..from + 51_000).map(row).collect()
    };
    store.commit(&batch(1, 1, keys(1))).unwrap();
    assert_eq!(store.usage(&all(Grouping::Key)).unwrap().len(), 51_000);
    store.commit(&batch(1, 2, keys(60_000))).unwrap();
    assert!(store.usage(&all(Grouping::Key)).is_err_and(|error| error.of_asker()));
    assert_eq!(store.usage(&all(Grouping::Day)).unwrap().len(), 1);
}

#[test]
fn minutes_become_hours_and_hours_days_and_no_sum_changes() {
    on_both(|place| {
        let mut store = place.open();
        let retention = Retention {
            minutes: Duration::from_hours(2 * 24),
            hours: Duration::from_hours(10 * 24),
            days: Some(Duration::from_hours(30 * 24)),
        };
        let numbers = &mut Numbers(5);
        let mut all_rows = rows(numbers, 3_000, TODAY - 25 * DAY..TODAY + 700);
        store.commit(&batch(1, 1, all_rows.clone())).unwrap();
        let now = TODAY + 700;
        assert!(whole_round(&mut store, &retention, now) > 2_000);
        let spans = "SELECT span, COUNT(*) > 0, MIN(minute) >= ?, SUM(CASE WHEN minute % span <> 0 THEN 1 ELSE 0 END) \
                     FROM usage GROUP BY span ORDER BY span";
        let first = |kept: u32, span: u32| (now - kept) - (now - kept) % span;
        for (span, oldest) in [(1, first(2 * DAY, HOUR)), (60, first(10 * DAY, DAY)), (1440, TODAY - 25 * DAY)] {
            let line = place.rows(&spans.replace('?', &oldest.to_string()));
            let line = line.lines().find(|line| line.starts_with(&format!("{span}|"))).unwrap().to_owned();
            let yes = if matches!(place, Place::Sqlite(_)) { "1" } else { "t" };
            assert_eq!(line, format!("{span}|{yes}|{yes}|0"), "{}", place.name());
        }
        assert_eq!(total(&mut store), sum(&all_rows));
        assert_eq!(whole_round(&mut store, &retention, now), 0, "nothing is left to do");

        // Of what is kept by the hour or the day there is no smaller part.
        let by_the_hour = TODAY - 8 * DAY..TODAY - 3 * DAY;
        let of_an_hour = all_rows.iter().find(|row| by_the_hour.contains(&row.minute)).unwrap();
        let within_it = of_an_hour.minute - of_an_hour.minute % HOUR + 30;
        for (by, from, to, kept) in [
            (Grouping::Day, TODAY - 20 * DAY + 1, TODAY, Some("days")),
            (Grouping::Day, TODAY - 20 * DAY, TODAY - 15 * DAY - HOUR, Some("days")),
            (Grouping::Hour, TODAY - 20 * DAY, TODAY - 5 * DAY, Some("days")),
            (Grouping::Hour, TODAY - 8 * DAY, within_it, Some("hours")),
            (Grouping::Hour, TODAY - 5 * DAY, TODAY - 4 * DAY, None),
            (Grouping::Method, TODAY - 20 * DAY, TODAY - 15 * DAY, None),
            (Grouping::Method, TODAY - 20 * DAY, TODAY + 77, None),
        ] {
            for tenant in [None, Some(of_an_hour.tenant)] {
                let asked = UsageQuery { from_minute: from, to_minute: to, tenant, ..all(by) };
                let refused = store.usage(&asked).err();
                assert_eq!(refused, kept.map(|kept| StoreError::Coarser { kept }), "{by:?} {from} {to} {tenant:?}");
            }
        }

        // What comes late is summed with the rest.
        let late = rows(numbers, 200, TODAY - 25 * DAY..TODAY);
        store.commit(&batch(1, 2, late.clone())).unwrap();
        all_rows.extend(late);
        assert!(whole_round(&mut store, &retention, now) > 100);
        assert_eq!(total(&mut store), sum(&all_rows));
        for since in [0, TODAY - 20 * DAY, TODAY] {
            assert_eq!(stored_months(&mut store, since), months(&all_rows, since));
        }
        let days = grouped(&all_rows, |row| Group::Time(row.minute - row.minute % DAY));
        assert_eq!(store.usage(&all(Grouping::Day)).unwrap(), days);

        // Ten days on the first of them are forgotten, whole days only; not what months are counted by.
        let (kept_from, by_months) = (TODAY - 20 * DAY, months(&all_rows, 0));
        for _ in 0..8 {
            whole_round(&mut store, &retention, now + 10 * DAY);
        }
        all_rows.retain(|row| row.minute >= kept_from);
        assert_eq!(total(&mut store), sum(&all_rows));
        assert_eq!(stored_months(&mut store, 0), by_months);
        let keeps = Retention { days: None, ..retention };
        whole_round(&mut store, &keeps, u32::MAX);
        assert_eq!(total(&mut store), sum(&all_rows), "a clock of another century forgets nothing");

        // Of two months and more ago nobody counts a month any more.
        for _ in 0..10 {
            whole_round(&mut store, &retention, TODAY + 47 * DAY);
        }
        assert_eq!(stored_months(&mut store, 0), stored_months(&mut store, TODAY - 15 * DAY));
        assert!(stored_months(&mut store, 0) < by_months && !stored_months(&mut store, 0).is_empty());
    });
}

#[test]
fn a_step_is_of_bounded_work() {
    let place = Place::sqlite();
    let mut store = place.open();
    let row =
        |n: u32| UsageRow { tenant: TenantId(n % 2), key: KeyId(u64::from(n) + 1), ..Numbers(0).row(TODAY..TODAY + 1) };
    let rows: Vec<_> = (0..25_000).map(row).collect();
    store.commit(&batch(1, 1, rows.clone())).unwrap();
    let mut steps = Vec::new();
    while {
        let done = store.roll_up(&Retention::default(), TODAY + 30 * DAY).unwrap();
        assert_eq!(total(&mut store), sum(&rows));
        steps.push(done.rows);
        done.more
    } {}
    assert!(steps.iter().all(|rows| *rows <= 10_000), "{steps:?}");
    assert_eq!(steps.iter().sum::<usize>(), 25_000);
}

/// Whatever is written, repeated and rolled up in whatever order, by several who know nothing of each other: the sums
/// are those of the batches that were handed in, each once.
#[test]
fn sums_are_the_same_in_any_order() {
    for seed in 0..24 {
        check_order(&Place::sqlite(), seed, 60);
    }
    for seed in 100..104 {
        check_order(&Place::postgres(), seed, 40);
    }
}

fn check_order(place: &Place, seed: u64, steps: u32) {
    let numbers = &mut Numbers(seed);
    let mut stores = [place.open(), place.open()];
    let (mut counted, mut handed_in, mut now) = (Vec::new(), [const { Vec::<UsageBatch>::new() }; 3], TODAY);
    for step in 0..steps {
        let store = &mut stores[usize::try_from(numbers.below(2)).unwrap()];
        let boot = usize::try_from(numbers.below(3)).unwrap();
        match numbers.below(6) {
            0..3 => {
                let count = usize::try_from(numbers.below(20)).unwrap();
                let sequence = handed_in[boot].len() as u64 + 1;
                let new = batch(boot as u128, sequence, rows(numbers, count, now - 20 * DAY..now + 1));
                assert_eq!(store.commit(&new), Ok(Committed::Now));
                counted.extend(new.rows.iter().cloned());
                handed_in[boot].push(new);
            }
            3 => {
                for old in &handed_in[boot] {
                    assert_eq!(store.commit(old), Ok(Committed::Before));
                }
            }
            4 => now += u32::try_from(numbers.below(3 * u64::from(DAY))).unwrap(),
            _ => {
                let days = |days: u64| Duration::from_hours(days * 24);
                let retention =
                    Retention { minutes: days(numbers.below(4)), hours: days(numbers.below(9)), days: None };
                store.roll_up(&retention, now).unwrap();
            }
        }
        assert_eq!(total(store), sum(&counted), "{} seed {seed}, step {step}", place.name());
    }
    let store = &mut stores[0];
    assert_eq!(stored_months(store, 0), months(&counted, 0), "seed {seed}");
    let methods = grouped(&counted, |row| Group::Word(row.method.to_owned()));
    assert_eq!(store.usage(&all(Grouping::Method)).unwrap(), methods, "seed {seed}");
}

#[test]
fn boots_that_are_long_gone_are_forgotten_and_the_others_are_not() {
    on_both(|place| {
        let mut store = place.open();
        store.commit(&batch(1, 1, Vec::new())).unwrap();
        store.commit(&batch(2, 5, Vec::new())).unwrap();
        store.commit(&batch(1, 2, Vec::new())).unwrap();
        whole_round(&mut store, &Retention::default(), TODAY);
        assert_eq!(place.rows("SELECT COUNT(*) FROM commits"), "2");
        let (boot, numbers) = match place {
            Place::Sqlite(_) => (
                "CAST(n AS BLOB)",
                "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100001) SELECT n FROM c)",
            ),
            Place::Postgres { .. } => ("int8send(n)", "(SELECT generate_series(1, 100001::bigint) AS n) AS c"),
        };
        // Two, and as many others behind them as are kept, and one; then the second is heard of again.
        place.raw(&format!(
            "INSERT INTO commits (node, boot, last, place) SELECT 'old', {boot}, 1, n + 10 FROM {numbers}"
        ));
        store.commit(&batch(2, 6, Vec::new())).unwrap();
        whole_round(&mut store, &Retention::default(), TODAY);
        assert_eq!(place.rows("SELECT COUNT(*) FROM commits"), "100000");
        assert_eq!(store.commit(&batch(2, 6, Vec::new())), Ok(Committed::Before));
        assert_eq!(place.rows("SELECT COUNT(*) FROM commits WHERE node = 'node-a'"), "1");
    });
}
