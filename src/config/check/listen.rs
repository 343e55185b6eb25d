//! Addresses: each listened on once, and the admin port never open to others without a token.

use std::net::SocketAddr;

use super::relations::{refuse_more, refuse_repeated};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::Listen;
use crate::limits;

pub(super) fn check(raw: &raw::Listen, problems: &mut Vec<Problem>) -> Option<Listen> {
    let http = raw.http.get().map(|written| {
        if written.is_empty() {
            problems.push(Problem::maybe_at(raw.http.span(), "at least one address is needed"));
        }
        refuse_more(written, limits::LISTEN_MAX, "addresses", problems);
        // Port 0 is the kernel's choice, another one each time.
        let fixed: Vec<_> =
            written.iter().filter(|one| one.plain().is_none_or(|address| address.port() != 0)).cloned().collect();
        refuse_repeated(&fixed, "this address is listed twice", problems);
        refuse_covered(&fixed, problems);
        written.iter().filter_map(Given::plain).collect::<Vec<SocketAddr>>()
    });
    let admin = raw.admin.plain();
    if let (Some(http), Some(Some(admin))) = (&http, admin) {
        check_admin(raw, http, admin, problems);
    }
    let admin_token = match &raw.admin_token {
        Some(token) => Some(token.plain()?),
        None => None,
    };
    Some(Listen { http: http?, admin: admin?, admin_token })
}

/// Notes an address that another one of the same port already covers, as 0.0.0.0 does 127.0.0.1.
fn refuse_covered(list: &[Given<crate::config::values::Address>], problems: &mut Vec<Problem>) {
    for one in list {
        let Some(address) = one.plain() else { continue };
        let covering =
            list.iter().find(|other| other.plain().is_some_and(|other| other != address && covers(other, address)));
        if let Some(covering) = covering {
            let problem = Problem::maybe_at(one.span(), "another address already covers this one");
            problems.push(problem.also(covering.span(), "this one"));
        }
    }
}

fn check_admin(raw: &raw::Listen, http: &[SocketAddr], admin: SocketAddr, problems: &mut Vec<Problem>) {
    if let Some(at) = http.iter().position(|&http| admin.port() != 0 && (covers(http, admin) || covers(admin, http))) {
        let other = raw.http.get().and_then(|list| list.get(at)).and_then(Given::span);
        let problem = Problem::maybe_at(raw.admin.span(), "the admin port must not be a data port");
        problems.push(problem.also(other, "clients are served here"));
    }
    if !admin.ip().to_canonical().is_loopback() && raw.admin_token.is_none() {
        let message = "others than this machine can reach this address: `admin_token` is needed beside it";
        problems.push(Problem::maybe_at(raw.admin.span(), message));
    }
}

/// Whether listening on one leaves nothing of the other.
fn covers(one: SocketAddr, other: SocketAddr) -> bool {
    let family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && family && (one.ip() == other.ip() || one.ip().is_unspecified())
}
