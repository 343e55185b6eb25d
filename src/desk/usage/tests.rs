use super::*;

// 2026-11-22 04:05:06 UTC.
const NOW: u64 = 1_795_320_306;

fn order(from: Option<&str>, to: Option<&str>) -> UsageOrder {
    UsageOrder { from: from.map(Into::into), to: to.map(Into::into), ..UsageOrder::default() }
}

#[test]
fn a_window_that_is_not_named_is_this_month() {
    for (from, to, from_shown, to_shown) in [
        (None, None, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        (Some("2026-10-05"), None, "2026-10-05T00:00:00Z", "2026-12-01T00:00:00Z"),
        (None, Some("2026-10-05"), "2026-10-01T00:00:00Z", "2026-10-05T00:00:00Z"),
        (None, Some("2026-10-01"), "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"),
        (Some("2026-10-05T03:04:00Z"), Some("2026-10-05T03:05:00Z"), "2026-10-05T03:04:00Z", "2026-10-05T03:05:00Z"),
    ] {
        let document = order(from, to).check(NOW).unwrap().document(Vec::new(), &HashMap::new());
        assert_eq!((document.from.as_str(), document.to.as_str()), (from_shown, to_shown), "{from:?} {to:?}");
    }
}

#[test]
fn a_window_that_is_none_is_refused() {
    for (from, to, refused) in [
        (Some("2026-12-01"), None, Refusal::Window),
        (Some("2026-10-05"), Some("2026-10-05"), Refusal::Window),
        (Some("2026-10-06"), Some("2026-10-05"), Refusal::Window),
        (None, Some("1970-01-01"), Refusal::Window),
        (Some("yesterday"), None, Refusal::Moment { field: "from" }),
        (None, Some("2026-10-05T03:04:05Z"), Refusal::Seconds { field: "to" }),
    ] {
        assert_eq!(order(from, to).check(NOW), Err(refused), "{from:?} {to:?}");
    }
    let key = UsageOrder { key: Some("lc_live_x".into()), ..UsageOrder::default() };
    assert_eq!(key.check(NOW), Err(Refusal::KeyText));
}

#[test]
fn lines_are_sorted_named_and_summed_exactly() {
    let names = HashMap::from([(TenantId(7), "acme".to_owned())]);
    let usage = |calls| Usage { calls, units: u64::MAX / 4, ..Usage::default() };
    let document = |by, groups: Vec<Group>| {
        let wanted = UsageOrder { by, ..UsageOrder::default() }.check(NOW).unwrap();
        let lines = groups.into_iter().zip(1..).map(|(group, calls)| UsageLine { group, usage: usage(calls) });
        wanted.document(lines.collect(), &names)
    };
    let minute = |text| moment::minute("", text).unwrap();
    for (by, groups, expected) in [
        (
            By::Day,
            vec![Group::Time(minute("2026-11-03")), Group::Time(minute("2026-11-02"))],
            [Some("2026-11-02"), Some("2026-11-03")],
        ),
        (
            By::Month,
            vec![Group::Time(minute("2026-11-01")), Group::Time(minute("2026-12-01"))],
            [Some("2026-11"), Some("2026-12")],
        ),
        (
            By::Hour,
            vec![Group::Time(minute("2026-11-01T05:00:00Z")), Group::Time(minute("2026-11-01T04:00:00Z"))],
            [Some("2026-11-01T04:00:00Z"), Some("2026-11-01T05:00:00Z")],
        ),
        (By::Tenant, vec![Group::Tenant(TenantId(7)), Group::Tenant(TenantId(0))], [None, Some("acme")]),
        (By::Tenant, vec![Group::Tenant(TenantId(7)), Group::Tenant(TenantId(8))], [Some("acme"), Some("#8")]),
        (By::Key, vec![Group::Key(KeyId(15)), Group::Key(KeyId(0))], [None, Some("000000000000000f")]),
        (By::Chain, vec![Group::Word("base".into()), Group::Word(String::new())], [None, Some("base")]),
    ] {
        let document = document(by, groups);
        let found: Vec<_> = document.lines.iter().map(|line| line.group.as_deref()).collect();
        assert_eq!(found, expected, "{by:?}");
        assert_eq!((document.total.0.calls, document.total.0.units), (3, u64::MAX / 4 * 2));
    }
}

#[test]
fn every_figure_has_a_column() {
    let usage = Usage {
        calls: 1,
        billable: 2,
        units: 3,
        errors: [4, 5, 6],
        bytes_in: 7,
        bytes_out: 8,
        cache_hits: 9,
        attempts: u64::MAX,
    };
    let sum = UsageSum { group: None, figures: UsageFigures(usage) };
    assert_eq!(
        serde_json::to_string(&sum).unwrap(),
        r#"{"group":null,"calls":1,"billable":2,"units":3,"errors_client":4,"errors_provider":5,"errors_node":6,"bytes_in":7,"bytes_out":8,"cache_hits":9,"attempts":18446744073709551615}"#
    );
}
