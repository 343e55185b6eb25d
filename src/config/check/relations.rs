//! How values relate to each other, for every section alike.

use std::ops::Range;

use crate::config::given::{Given, Plain};
use crate::config::problems::Problem;

/// A number as the type that the program counts in; bounds of `raw` make it fit.
pub(super) fn count<C: Plain<Out = u64>, N: TryFrom<u64>>(given: &Given<C>) -> Option<N> {
    given.plain().and_then(|number| N::try_from(number).ok())
}

/// The smaller of two related values, cut to the larger when it is a default, and noted when it is not.
pub(super) fn at_most<A, B, T: PartialOrd>(
    (small, value): (&Given<A>, Option<T>),
    (large, bound): (&Given<B>, Option<T>),
    message: &'static str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let (value, bound) = (value?, bound?);
    if value <= bound {
        return Some(value);
    }
    if small.is_written() {
        let hint = if large.is_written() { "" } else { ", whose default holds: set both" };
        let problem = Problem::maybe_at(small.span(), format!("{message}{hint}"));
        problems.push(problem.also(large.span(), "the bound is set here"));
    }
    Some(bound)
}

/// Notes every value that an earlier one equals.
pub(super) fn refuse_repeated<T: Plain<Out: PartialEq>>(list: &[Given<T>], message: &str, problems: &mut Vec<Problem>) {
    let known: Vec<(T::Out, Option<Range<usize>>)> =
        list.iter().filter_map(|one| Some((one.plain()?, one.span()))).collect();
    for (at, (value, span)) in known.iter().enumerate() {
        if let Some((_, first)) = known[..at].iter().find(|(earlier, _)| earlier == value) {
            problems.push(Problem::maybe_at(span.clone(), message).also(first.clone(), "first here"));
        }
    }
}

pub(super) fn refuse_more<T>(list: &[Given<T>], max: usize, what: &str, problems: &mut Vec<Problem>) {
    if let Some(beyond) = list.get(max) {
        problems.push(Problem::maybe_at(beyond.span(), format!("at most {max} {what}")));
    }
}

/// Notes a required key that is not there, at what it is missing from.
pub(super) fn need<T, U>(key: &Given<T>, name: &str, owner: &str, of: &Given<U>, problems: &mut Vec<Problem>) {
    if key.is_missing() {
        problems.push(Problem::maybe_at(of.span(), format!("this {owner} has no `{name}`")));
    }
}
