//! Chains and their providers: names that tell them apart, and the URLs of this node's region.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use super::outbound;
use super::relations::{count, need, refuse_more};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::{CallsOver, Chain, Provider, Url};
use crate::jsonrpc::{Class, Override, Scope};
use crate::limits;

/// `region` is none when it is itself wrong; everything else is still checked.
pub(super) fn check(
    raw: &Given<Vec<Given<raw::Chain>>>,
    region: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Chain>> {
    let written = raw.get()?;
    if written.is_empty() {
        problems.push(Problem::maybe_at(raw.span(), "no chain is configured: at least one [[chains]] is needed"));
    }
    refuse_more(written, limits::CHAINS_MAX, "chains", problems);
    let (mut names, mut ids) = (Seen::default(), Seen::default());
    let mut chains = Vec::with_capacity(written.len());
    for given in written {
        let Some(chain) = given.get() else { continue };
        need(&chain.name, "name", "chain", given, problems);
        need(&chain.id, "id", "chain", given, problems);
        names.note(chain.name.plain(), chain.name.span(), "another chain has this name already", problems);
        ids.note(chain.id.plain(), chain.id.span(), "another chain has this id already", problems);
        chains.extend(check_chain(given, chain, region, problems));
    }
    (chains.len() == written.len()).then_some(chains)
}

fn check_chain(
    given: &Given<raw::Chain>,
    raw: &raw::Chain,
    region: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Chain> {
    if raw.providers.is_missing() {
        problems.push(Problem::maybe_at(
            given.span(),
            "this chain has no provider: at least one [[chains.providers]] is needed",
        ));
    }
    let providers = raw.providers.get().and_then(|written| {
        if written.is_empty() {
            problems.push(Problem::maybe_at(raw.providers.span(), "at least one provider is needed"));
        }
        check_providers(written, region, problems)
    });
    let id = raw.id.plain();
    let max_lag_blocks = match &raw.max_lag_blocks {
        Some(blocks) => Some(blocks.plain()?),
        None => None,
    };
    Some(Chain {
        name: raw.name.plain()?,
        id: id?,
        network_id: raw.network_id.as_ref().map_or(id, Given::plain)?,
        block_time: raw.block_time.plain()?,
        max_lag_blocks,
        strategy: raw.strategy.plain()?,
        providers: providers?,
    })
}

fn check_providers(
    written: &[Given<raw::Provider>],
    region: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Provider>> {
    refuse_more(written, limits::PROVIDERS_PER_CHAIN_MAX, "providers of one chain", problems);
    let mut ids = Seen::default();
    let mut providers = Vec::with_capacity(written.len());
    for given in written {
        let Some(provider) = given.get() else {
            continue;
        };
        need(&provider.id, "id", "provider", given, problems);
        need(&provider.url, "url", "provider", given, problems);
        ids.note(
            provider.id.plain(),
            provider.id.span(),
            "another provider of this chain has this id already",
            problems,
        );
        providers.extend(check_provider(provider, region, problems));
    }
    (providers.len() == written.len()).then_some(providers)
}

fn check_provider(raw: &raw::Provider, region: Option<&str>, problems: &mut Vec<Problem>) -> Option<Provider> {
    let headers = check_headers(raw, problems);
    let errors = check_errors(raw, problems);
    let limits = raw.limits.get().and_then(|limits| outbound::check_plan(limits, problems));
    let urls = check_regions(raw, region, problems);
    let own = urls.and_then(Given::get);
    let url = own.and_then(|own| own.url.as_ref()).unwrap_or(&raw.url).plain();
    let ws_url = match own.and_then(|own| own.ws_url.as_ref()).or(raw.ws_url.as_ref()) {
        Some(ws_url) => Some(ws_url.plain()?),
        None => None,
    };
    let calls = raw.calls.plain();
    if calls == Some(CallsOver::WebSocket) && ws_url.is_none() {
        problems.push(Problem::maybe_at(raw.calls.span(), "calls over WebSocket need `ws_url`"));
    }
    Some(Provider {
        id: raw.id.plain()?,
        url: url?,
        ws_url,
        calls: calls?,
        headers: headers?,
        errors: errors?,
        limits: limits?,
        priority: count(&raw.priority)?,
        weight: count(&raw.weight)?,
    })
}

/// Checks every region's URLs, so that one file serves all regions, and answers this node's.
fn check_regions<'r>(
    raw: &'r raw::Provider,
    region: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<&'r Given<raw::Region>> {
    let regions = &raw.regions.get()?.0;
    if let Some((beyond, _)) = regions.get(limits::REGIONS_PER_PROVIDER_MAX) {
        problems
            .push(Problem::maybe_at(beyond.span(), format!("at most {} regions", limits::REGIONS_PER_PROVIDER_MAX)));
    }
    for (name, urls) in regions {
        if urls.get().is_some_and(|urls| urls.url.is_none() && urls.ws_url.is_none()) {
            problems.push(Problem::maybe_at(name.span(), "this region needs `url`, `ws_url` or both"));
        }
    }
    let own = regions.iter().find(|(name, _)| region.is_some() && name.plain().as_deref() == region);
    own.map(|(_, urls)| urls)
}

fn check_headers(raw: &raw::Provider, problems: &mut Vec<Problem>) -> Option<Vec<(String, crate::config::Secret)>> {
    let written = &raw.headers.get()?.0;
    if let Some((beyond, _)) = written.get(limits::PROVIDER_HEADERS_MAX) {
        problems.push(Problem::maybe_at(beyond.span(), format!("at most {} headers", limits::PROVIDER_HEADERS_MAX)));
    }
    let mut names = Seen::default();
    for (name, _) in written {
        names.note(name.plain(), name.span(), "this header is given twice: case does not tell them apart", problems);
    }
    if let Some((name, _)) = written.iter().find(|(name, _)| name.plain().as_deref() == Some("authorization")) {
        for url in urls_with_userinfo(raw) {
            let problem = Problem::maybe_at(name.span(), "the URL's user and password are sent as `authorization` too");
            problems.push(problem.also(url, "this URL"));
        }
    }
    written.iter().map(|(name, value)| Some((name.plain()?, value.plain()?))).collect()
}

fn check_errors(raw: &raw::Provider, problems: &mut Vec<Problem>) -> Option<Vec<Override>> {
    let written = raw.errors.get()?;
    refuse_more(written, limits::ERROR_RULES_MAX, "rules about one provider's errors", problems);
    for given in written {
        let Some(rule) = given.get() else { continue };
        need(&rule.class, "class", "rule", given, problems);
        if rule.code.is_none() && rule.contains.is_none() {
            problems.push(Problem::maybe_at(given.span(), "this rule needs `code`, `contains` or both"));
        }
        let limits_rates = rule.class.plain().is_none_or(|class| class == Class::RateLimited);
        if !limits_rates && rule.scope.plain() == Some(Scope::MethodClass) {
            let problem = Problem::maybe_at(rule.scope.span(), "only a rate limit can be of one method class alone");
            problems.push(problem.also(rule.class.span(), "the class"));
        }
    }
    let rule = |rule: &raw::ErrorRule| {
        Some(Override {
            code: rule.code.as_ref().and_then(Given::plain),
            contains: rule.contains.as_ref().and_then(Given::plain),
            class: rule.class.plain()?,
            scope: rule.scope.plain()?,
        })
    };
    written.iter().map(|given| given.get().and_then(rule)).collect()
}

fn urls_with_userinfo(raw: &raw::Provider) -> impl Iterator<Item = Option<Range<usize>>> {
    let with_userinfo = |url: Option<Url>| url.is_some_and(|url| url.authorization.is_some());
    let regions = raw.regions.get().into_iter().flat_map(|table| &table.0).filter_map(|(_, region)| region.get());
    let http = std::iter::once(&raw.url).chain(regions.clone().filter_map(|region| region.url.as_ref()));
    let ws = raw.ws_url.iter().chain(regions.filter_map(|region| region.ws_url.as_ref()));
    let http = http.map(move |url| (with_userinfo(url.plain()), url.span()));
    let ws = ws.map(move |url| (with_userinfo(url.plain()), url.span()));
    http.chain(ws).filter_map(|(with, span)| with.then_some(span))
}

/// Values that must differ, and where each was first seen.
struct Seen<T>(HashMap<T, Option<Range<usize>>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Seen<T> {
    fn note(&mut self, value: Option<T>, span: Option<Range<usize>>, message: &str, problems: &mut Vec<Problem>) {
        let Some(value) = value else { return };
        match self.0.get(&value) {
            Some(first) => {
                problems.push(Problem::maybe_at(span, message).also(first.clone(), "first here"));
            }
            None => {
                self.0.insert(value, span);
            }
        }
    }
}
