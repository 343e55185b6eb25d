//! `livechain plan`.

use clap::ValueEnum;

use super::limit::{Limit, Weight, put};
use super::rules::{Lifts, RuleFlags, doubts};
use super::told::{self, Format, Told};
use super::{Books, Trouble};
use crate::desk::Refusal;
use crate::desk::plans::{self, NewPlan, PlanDocument, PlanList, PlanOrder};
use crate::desk::sheet::Sheet;
use crate::ledger::{PlanText, WithoutStoreText};

/// What is done with plans.
#[derive(Debug, clap::Subcommand)]
pub enum PlanTask {
    /// Make one; what is not limited is not limited.
    Create {
        name: String,
        #[command(flatten)]
        flags: Box<PlanFlags>,
    },
    /// List all of them by name.
    List,
    /// Show one.
    Show { name: String },
    /// Change what is named, for all keys of the plan; what is not named stays.
    Change {
        name: String,
        /// Another name.
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        #[command(flatten)]
        flags: Box<PlanFlags>,
        #[command(flatten)]
        lifts: Lifts,
    },
}

/// A plan's terms. `none` lifts a limit.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PlanFlags {
    /// Calls in a second.
    #[arg(long, value_name = "N")]
    calls_per_second: Option<Limit<u32>>,
    /// Calls at once, from somebody who was quiet.
    #[arg(long, value_name = "N")]
    calls_burst: Option<Limit<u32>>,
    /// Units (what calls weigh) in a second.
    #[arg(long, value_name = "N")]
    units_per_second: Option<Limit<u32>>,
    /// Units at once.
    #[arg(long, value_name = "N")]
    units_burst: Option<Limit<u32>>,
    /// Units in a month.
    #[arg(long, value_name = "N")]
    units_per_month: Option<Limit<u64>>,
    /// The day, 1 to 28, on which months begin, UTC.
    #[arg(long, value_name = "DAY")]
    month_starts_on: Option<Limit<u8>>,
    /// Calls that are under way.
    #[arg(long, value_name = "N")]
    in_flight: Option<Limit<u32>>,
    /// Open WebSockets.
    #[arg(long, value_name = "N")]
    sockets: Option<Limit<u32>>,
    /// Subscriptions, over all WebSockets.
    #[arg(long, value_name = "N")]
    subscriptions: Option<Limit<u32>>,
    /// What a method weighs, or all with a beginning: trace_*=500; trace_*=none for the default. Repeat it for more.
    #[arg(long, value_name = "METHOD=N")]
    units: Vec<Weight>,
    /// What is done while the store that counts for the whole fleet is gone.
    #[arg(long, value_name = "POLICY", value_enum)]
    without_store: Option<Policy>,
    #[command(flatten)]
    rules: RuleFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Each node counts for itself: clients are served, and may get more than was sold.
    GoOn,
    /// Nodes refuse when what they were leased is used up.
    Refuse,
}

impl PlanFlags {
    fn is_empty(&self) -> bool {
        let Self { units, without_store, rules, .. } = self;
        let mut text = PlanText::default();
        // A limit that is lifted is one that is named: held against a plan that has all of them it shows.
        let mut full = PlanText {
            calls_per_second: Some(0),
            calls_burst: Some(0),
            units_per_second: Some(0),
            units_burst: Some(0),
            units_per_month: Some(0),
            month_starts_on: Some(0),
            in_flight: Some(0),
            sockets: Some(0),
            subscriptions: Some(0),
            ..PlanText::default()
        };
        let was = full.clone();
        self.put_limits(&mut text);
        self.put_limits(&mut full);
        let limits = text != PlanText::default() || full != was;
        !limits && units.is_empty() && without_store.is_none() && rules.is_empty()
    }

    fn put(self, text: &mut PlanText) {
        self.put_limits(text);
        for Weight { methods, units: Limit(units) } in self.units {
            match units {
                Some(units) => text.units.insert(methods, units),
                None => text.units.remove(&methods),
            };
        }
        match self.without_store {
            Some(Policy::GoOn) => text.without_store = Some(WithoutStoreText::GoOn),
            Some(Policy::Refuse) => text.without_store = Some(WithoutStoreText::Refuse),
            None => {}
        }
        self.rules.put(&mut text.rules);
    }

    fn put_limits(&self, text: &mut PlanText) {
        put(self.calls_per_second, &mut text.calls_per_second);
        put(self.calls_burst, &mut text.calls_burst);
        put(self.units_per_second, &mut text.units_per_second);
        put(self.units_burst, &mut text.units_burst);
        put(self.units_per_month, &mut text.units_per_month);
        // A burst goes with its rate: it is one of nothing.
        for (rate, burst, into) in [
            (self.calls_per_second, self.calls_burst, &mut text.calls_burst),
            (self.units_per_second, self.units_burst, &mut text.units_burst),
        ] {
            if rate == Some(Limit(None)) && burst.is_none() {
                *into = None;
            }
        }
        put(self.month_starts_on, &mut text.month_starts_on);
        put(self.in_flight, &mut text.in_flight);
        put(self.sockets, &mut text.sockets);
        put(self.subscriptions, &mut text.subscriptions);
    }
}

impl PlanTask {
    pub(super) fn run(self, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
        match self {
            Self::Create { name, flags } => create(name, *flags, books, format),
            Self::List => {
                let list = plans::list(&mut books.open()?, None, usize::MAX)?;
                Ok(told::list(format, &list, || rows(&list)))
            }
            Self::Show { name } => Ok(told::one(format, &plans::show(&mut books.open()?, &name)?)),
            Self::Change { name, rename, flags, lifts } => change(&name, rename, *flags, &lifts, books, format),
        }
    }
}

fn create(name: String, flags: PlanFlags, books: &Books<'_>, format: Format) -> Result<Told, Trouble> {
    let mut terms = PlanText::default();
    flags.put(&mut terms);
    let new = NewPlan { name, terms }.check()?;
    let plan = plans::create(&mut books.open()?, &new, books.now_s)?;
    Ok(shown(&plan, books, format))
}

/// Reads the terms, changes what is named, and stores them whole: of two operators at the same plan in the same moment
/// the second one's hold.
fn change(
    name: &str,
    rename: Option<String>,
    flags: PlanFlags,
    lifts: &Lifts,
    books: &Books<'_>,
    format: Format,
) -> Result<Told, Trouble> {
    let same_terms = flags.is_empty() && lifts.is_empty();
    if same_terms && rename.is_none() {
        return Err(Refusal::NoChange.into());
    }
    let mut store = books.open()?;
    let mut terms = plans::show(&mut store, name)?.terms;
    lifts.take(&mut terms.rules);
    flags.put(&mut terms);
    let order = PlanOrder { name: rename, terms: Some(terms).filter(|_| !same_terms) };
    let plan = plans::change(&mut store, name, &order.check()?)?;
    Ok(shown(&plan, books, format))
}

fn shown(plan: &PlanDocument, books: &Books<'_>, format: Format) -> Told {
    Told { aside: doubts(&plan.terms.rules, &books.chains), ..told::one(format, plan) }
}

fn rows(list: &PlanList) -> Sheet {
    let columns = ["id", "name", "created", "calls_per_second", "units_per_second", "units_per_month"];
    let mut sheet = Sheet::new(columns).numbers_from(3);
    let number = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
    for PlanDocument { id, name, created, terms } in &list.plans {
        let limits =
            [terms.calls_per_second.map(Into::into), terms.units_per_second.map(Into::into), terms.units_per_month];
        sheet.row([id.to_string(), name.clone(), created.clone()].into_iter().chain(limits.map(number)));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: PlanFlags,
    }

    fn flags(line: &str) -> PlanFlags {
        Line::try_parse_from(std::iter::once("plan").chain(line.split_whitespace())).unwrap().flags
    }

    #[test]
    fn every_term_has_a_flag() {
        let mut terms = PlanText::default();
        flags(
            "--calls-per-second 25 --calls-burst 50 --units-per-second 500 --units-burst 1_000 \
             --units-per-month 300_000_000 --month-starts-on 15 --in-flight 40 --sockets 10 --subscriptions 100 \
             --units trace_*=500 --units eth_call=26 --without-store refuse --chain ethereum --chain base \
             --method eth_* --refuse-method eth_sendRawTransaction --origin https://app.example \
             --network 10.0.0.0/8 --region eu-west-1",
        )
        .put(&mut terms);
        assert_eq!(
            terms.json(),
            r#"{"calls_per_second":25,"calls_burst":50,"units_per_second":500,"units_burst":1000,"units_per_month":300000000,"month_starts_on":15,"in_flight":40,"sockets":10,"subscriptions":100,"units":{"eth_call":26,"trace_*":500},"without_store":"refuse","rules":{"chains":["ethereum","base"],"methods":["eth_*"],"methods_refused":["eth_sendRawTransaction"],"origins":["https://app.example"],"networks":["10.0.0.0/8"],"regions":["eu-west-1"]}}"#
        );
        flags(
            "--calls-per-second none --calls-burst none --units-per-second none --units-burst none \
             --units-per-month none --month-starts-on none --in-flight none --sockets none --subscriptions none \
             --units trace_*=none --units eth_call=none --without-store go-on",
        )
        .put(&mut terms);
        terms.rules = crate::ledger::RulesText::default();
        assert_eq!(terms.json(), r#"{"without_store":"go_on"}"#);
    }

    #[test]
    fn a_burst_goes_with_its_rate() {
        let was = r#"{"calls_per_second":5,"calls_burst":9,"units_per_second":50,"units_burst":90}"#;
        for (line, is) in [
            ("--calls-per-second none", r#"{"units_per_second":50,"units_burst":90}"#),
            ("--units-per-second none", r#"{"calls_per_second":5,"calls_burst":9}"#),
            (
                "--calls-per-second 6",
                r#"{"calls_per_second":6,"calls_burst":9,"units_per_second":50,"units_burst":90}"#,
            ),
            ("--calls-per-second none --calls-burst 7", r#"{"calls_burst":7,"units_per_second":50,"units_burst":90}"#),
        ] {
            let mut terms = PlanText::parse(was).unwrap();
            flags(line).put(&mut terms);
            assert_eq!(terms.json(), is, "{line}");
        }
    }

    #[test]
    fn a_change_of_nothing_is_known() {
        assert!(flags("").is_empty());
        for line in [
            "--calls-per-second 1",
            "--calls-burst none",
            "--sockets 0",
            "--month-starts-on none",
            "--units a=none",
            "--without-store go-on",
            "--region eu",
        ] {
            assert!(!flags(line).is_empty(), "{line}");
        }
    }
}
