//! One key's quota, call by call; what holds over windows is in `windows`.

use std::time::Duration;

use super::*;

const NO_MONTH: Month = Month { number: 0, ends: None, next: 30 };
const MONTH: Month = Month { number: 660, ends: Some(Instant::from_micros(100_000_000)), next: 690 };

fn ms(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn terms(config: &QuotaConfig) -> Terms {
    Terms::new(config, 60, MONTH)
}

/// Takes, and ends at once.
fn take(quota: &Quota, now: Instant, units: u32, terms: &Terms) -> Result<(), Refused> {
    quota.take(now, units, terms, &mut Share::default()).map(|taken| quota.end(taken))
}

#[test]
fn nothing_is_limited_that_the_plan_does_not_limit() {
    let (quota, terms) = (Quota::new(), terms(&QuotaConfig::default()));
    for _ in 0..10_000 {
        assert_eq!(take(&quota, ms(1), u32::MAX, &terms), Ok(()));
    }
    assert_eq!(quota.open(Lasting::Socket, ms(1), &terms, &Share::default()), Ok(false));
    assert_eq!(quota.figures(ms(1), &terms, &Share::default()), None);
    assert!(quota.is_at_rest(ms(1)));
}

#[test]
fn each_limit_refuses_by_its_name_and_says_when_to_come_again() {
    let none = QuotaConfig::default();
    // The plan; how many calls of how many units pass at once; what refuses the next, and for how long.
    for (config, passed, units, limit, again_ms) in [
        (QuotaConfig { calls_per_second: Some(10), ..none }, 10, 1, Limit::Calls, Some(100)),
        (QuotaConfig { calls_per_second: Some(10), calls_burst: Some(3), ..none }, 3, 1, Limit::Calls, Some(100)),
        (QuotaConfig { calls_per_second: Some(0), ..none }, 0, 1, Limit::Calls, None),
        (QuotaConfig { units_per_second: Some(100), ..none }, 5, 20, Limit::Units, Some(200)),
        // Less than the dearest method weighs: the burst is as much as that.
        (QuotaConfig { units_per_second: Some(10), ..none }, 3, 20, Limit::Units, Some(2000)),
        (QuotaConfig { units_per_second: Some(0), ..none }, 0, 1, Limit::Units, None),
        (QuotaConfig { units_per_month: Some(100), ..none }, 5, 20, Limit::Month, Some(50_000)),
        (QuotaConfig { units_per_month: Some(0), ..none }, 0, 1, Limit::Month, None),
    ] {
        let (quota, terms) = (Quota::new(), terms(&config));
        for call in 0..passed {
            assert_eq!(take(&quota, ms(50_000), units, &terms), Ok(()), "{call} of {config:?}");
        }
        let refused = take(&quota, ms(50_000), units, &terms).unwrap_err();
        assert_eq!((refused.limit, refused.again), (limit, again_ms.map(Duration::from_millis)), "{config:?}");
        assert_eq!(refused.figures.remaining, 0, "{config:?}");
        if let (Some(again), true) = (refused.again, limit != Limit::Month) {
            let sooner = ms(50_000) + again.saturating_sub(Duration::from_millis(1));
            assert!(take(&quota, sooner, units, &terms).is_err(), "{config:?}");
            assert_eq!(take(&quota, ms(50_000) + again, units, &terms), Ok(()), "{config:?}");
        }
    }
}

#[test]
fn a_call_that_is_dearer_than_ten_seconds_never_passes() {
    let config = QuotaConfig { units_per_second: Some(10), units_burst: Some(20), ..QuotaConfig::default() };
    let (quota, terms) = (Quota::new(), terms(&config));
    assert_eq!(take(&quota, ms(1_000_000), 121, &terms).unwrap_err().again, None);
    assert_eq!(take(&quota, ms(1_000_000), 120, &terms), Ok(()), "as much as went unused before");
    assert_eq!(take(&quota, ms(1_001_000), 1, &terms).unwrap_err().again, Some(Duration::from_millis(9_100)));
}

#[test]
fn places_are_counted_until_they_are_handed_in() {
    let config = QuotaConfig { in_flight: Some(2), sockets: Some(1), subscriptions: Some(1), ..QuotaConfig::default() };
    let (quota, terms, mut own) = (Quota::new(), terms(&config), Share::default());
    let one = quota.take(ms(1), 1, &terms, &mut own).unwrap();
    let two = quota.take(ms(1), 1, &terms, &mut own).unwrap();
    let refused = quota.take(ms(1), 1, &terms, &mut own).unwrap_err();
    assert_eq!((refused.limit, refused.retry_after_s()), (Limit::InFlight, Some(1)));
    quota.end(one);
    let three = quota.take(ms(1), 1, &terms, &mut own).unwrap();
    for (what, limit) in [(Lasting::Socket, Limit::Sockets), (Lasting::Subscription, Limit::Subscriptions)] {
        assert_eq!(quota.open(what, ms(1), &terms, &own), Ok(true));
        assert_eq!(quota.open(what, ms(1), &terms, &own).unwrap_err().limit, limit);
    }
    assert_eq!(quota.lasting(), [2, 1, 1]);
    assert!(!quota.is_at_rest(ms(1)));
    quota.end(two);
    quota.end(three);
    quota.close(Lasting::Socket);
    quota.close(Lasting::Subscription);
    assert!(quota.is_at_rest(ms(1)));
}

#[test]
fn what_a_later_limit_refuses_the_earlier_ones_get_back() {
    let config = QuotaConfig {
        calls_per_second: Some(10),
        units_per_second: Some(1000),
        units_per_month: Some(50),
        in_flight: Some(9),
        ..QuotaConfig::default()
    };
    let (quota, terms, mut own) = (Quota::new(), terms(&config), Share::default());
    let mut take = |units| quota.take(ms(9_000), units, &terms, &mut own).map(|taken| quota.end(taken));
    assert_eq!(take(20), Ok(()));
    for _ in 0..1000 {
        assert_eq!(take(31).unwrap_err().limit, Limit::Month);
        assert_eq!(take(1001).unwrap_err().limit, Limit::Units);
    }
    assert_eq!(quota.lasting(), [0; 3]);
    for _ in 0..9 {
        assert_eq!(take(1), Ok(()));
    }
    assert_eq!(take(1).unwrap_err().limit, Limit::Calls);
    assert_eq!(quota.month_used(ms(9_000), MONTH), 29);
}

#[test]
fn a_call_that_is_not_paid_for_is_taken_off_the_month() {
    let config = QuotaConfig { units_per_month: Some(1000), in_flight: Some(1), ..QuotaConfig::default() };
    let (quota, terms, mut own) = (Quota::new(), terms(&config), Share::default());
    let taken = quota.take(ms(1), 300, &terms, &mut own).unwrap();
    quota.unbill(&taken);
    quota.end(taken);
    assert_eq!(quota.month_used(ms(1), MONTH), 0);
    let taken = quota.take(ms(1), 300, &terms, &mut own).unwrap();
    quota.give_back(ms(1), taken, &terms, &mut own);
    assert_eq!((quota.month_used(ms(1), MONTH), quota.lasting()), (0, [0; 3]));
    // One of last month is last month's.
    let old = quota.take(ms(99_999), 300, &terms, &mut own).unwrap();
    let new = quota.take(ms(100_000), 200, &terms, &mut Share::default());
    assert_eq!(new.unwrap_err().limit, Limit::InFlight);
    quota.end(old);
    assert!(take(&quota, ms(100_000), 200, &terms).is_ok());
    quota.unbill(&old);
    assert_eq!(quota.month_used(ms(100_000), MONTH), 200);
}

#[test]
fn a_month_goes_on_from_what_the_ledger_has() {
    let terms = terms(&QuotaConfig { units_per_month: Some(1000), ..QuotaConfig::default() });
    let quota = Quota::new();
    assert_eq!(take(&quota, ms(1), 100, &terms), Ok(()));
    quota.restore_month(MonthUsed { units: 850, month: MONTH.number });
    assert_eq!(take(&quota, ms(1), 51, &terms).unwrap_err().limit, Limit::Month);
    assert_eq!(take(&quota, ms(1), 50, &terms), Ok(()));
    let refused = take(&quota, ms(1), 1, &terms).unwrap_err();
    assert_eq!(refused.figures, Figures { limit: 1000, remaining: 0, reset_s: 100 });
    assert_eq!(take(&quota, ms(100_000), 1000, &terms), Ok(()), "the next one begins by itself");
}

#[test]
fn the_figures_are_of_what_is_scarcest() {
    let config = QuotaConfig {
        calls_per_second: Some(10),
        units_per_second: Some(100),
        units_per_month: Some(100_000),
        ..QuotaConfig::default()
    };
    let (quota, terms) = (Quota::new(), terms(&config));
    let figures = |now| quota.figures(now, &terms, &Share::default()).unwrap();
    let show = |figures: Figures| (figures.limit, figures.remaining, figures.reset_s);
    take(&quota, ms(50_000), 1, &terms).unwrap();
    assert_eq!(show(figures(ms(50_000))), (10, 9, 1));
    take(&quota, ms(50_000), 60, &terms).unwrap();
    assert_eq!(show(figures(ms(50_000))), (100, 39, 1));
    assert_eq!(show(figures(ms(60_000))), (100_000, 99_939, 40));
}

#[test]
fn a_retry_is_told_in_whole_seconds_and_never_zero() {
    let refused =
        |again| Refused { limit: Limit::Calls, again, figures: Figures { limit: 1, remaining: 0, reset_s: 1 } };
    for (again_ms, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        assert_eq!(refused(Some(Duration::from_millis(again_ms))).retry_after_s(), Some(expected));
    }
    assert_eq!(refused(None).retry_after_s(), None);
}

#[test]
fn every_limit_has_words_of_its_own() {
    let words: std::collections::HashSet<_> =
        Limit::ALL.iter().flat_map(|limit| [limit.name(), limit.message()]).collect();
    assert_eq!(words.len(), 2 * Limit::ALL.len());
}

#[test]
fn a_reload_that_limits_what_runs_does_not_miscount() {
    let (quota, mut own) = (Quota::new(), Share::default());
    let open = Terms::new(&QuotaConfig::default(), 60, NO_MONTH);
    let limited = Terms::new(&QuotaConfig { in_flight: Some(1), ..QuotaConfig::default() }, 60, NO_MONTH);
    let before = quota.take(ms(1), 1, &open, &mut own).unwrap();
    let after = quota.take(ms(1), 1, &limited, &mut own).unwrap();
    quota.end(before);
    assert_eq!(quota.lasting()[0], 1);
    quota.end(after);
    assert_eq!(quota.lasting()[0], 0);
}

#[test]
fn it_is_alone_in_its_cache_line() {
    assert_eq!((align_of::<Quota>(), size_of::<Quota>()), (128, 128));
}
