//! Addresses: each listened on once, TLS never without a certificate, and the admin port never open to whoever comes.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Surroundings;
use super::relations::{count, need, refuse_more, refuse_repeated};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::{AdminTls, CertificateFiles, Certified, Listen, PerAddress};
use crate::config::values::{Address, File, Network};
use crate::limits;
use crate::tenant;

pub(super) fn check(raw: &raw::Listen, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Listen> {
    let data = check_data(raw, problems);
    let certificates = check_certificates(raw, around, problems);
    let client_ca = check_client_ca(raw, around, problems)?;
    let admin_tls = check_admin_tls(raw, around, problems)?;
    let admin = raw.admin.plain();
    if let (Some(_), Some(Some(admin))) = (&data, admin) {
        check_admin(raw, admin, problems);
    }
    let admin_token = match &raw.admin_token {
        Some(token) => Some(token.plain()?),
        None => None,
    };
    let (http, https) = data?;
    Some(Listen {
        http,
        https,
        certificates: certificates?,
        client_ca,
        handshake_timeout: raw.handshake_timeout.plain()?,
        proxy_protocol_from: check_networks(&raw.proxy_protocol_from, problems)?,
        forwarded_for_from: check_networks(&raw.forwarded_for_from, problems)?,
        per_address: PerAddress {
            connections: unless_zero(count(&raw.connections_per_address)?),
            connects_per_second: unless_zero(count(&raw.connects_per_second_per_address)?),
            handshakes: unless_zero(count(&raw.handshakes_per_address)?),
        },
        accepts_per_second: unless_zero(count(&raw.accepts_per_second)?),
        admin: admin?,
        admin_token,
        admin_tls,
    })
}

/// A limit of which 0 means none.
fn unless_zero(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

/// The addresses for clients, plain and with TLS.
fn check_data(raw: &raw::Listen, problems: &mut Vec<Problem>) -> Option<(Vec<SocketAddr>, Vec<SocketAddr>)> {
    let (http, https) = (raw.http.get()?, raw.https.get()?);
    if http.is_empty() && https.is_empty() {
        problems.push(Problem::maybe_at(raw.http.span(), "at least one address is needed, here or under `https`"));
    }
    let all: Vec<_> = http.iter().chain(https).cloned().collect();
    refuse_more(&all, limits::LISTEN_MAX, "addresses, `http` and `https` together", problems);
    // Port 0 is the kernel's choice, another one each time.
    let fixed: Vec<_> =
        all.iter().filter(|one| one.plain().is_none_or(|address| address.port() != 0)).cloned().collect();
    refuse_repeated(&fixed, "this address is listed twice", problems);
    refuse_covered(&fixed, problems);
    if !https.is_empty() && raw.certificates.get().is_some_and(Vec::is_empty) {
        let message = "TLS needs a certificate: add [[listen.certificates]] with `cert` and `key`";
        problems.push(Problem::maybe_at(raw.https.span(), message));
    }
    let plain = |list: &[Given<Address>]| list.iter().filter_map(Given::plain).collect();
    Some((plain(http), plain(https)))
}

/// Notes an address that another one of the same port already covers, as 0.0.0.0 does 127.0.0.1.
fn refuse_covered(list: &[Given<Address>], problems: &mut Vec<Problem>) {
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

fn check_certificates(
    raw: &raw::Listen,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateFiles>> {
    let written = raw.certificates.get()?;
    refuse_more(written, limits::CERTIFICATES_MAX, "certificates", problems);
    let mut all = Vec::with_capacity(written.len());
    for given in written {
        let Some(pair) = given.get() else { continue };
        need(&pair.cert, "cert", "certificate", given, problems);
        need(&pair.key, "key", "certificate", given, problems);
        all.extend(check_pair(&pair.cert, &pair.key, around, problems));
    }
    (all.len() == written.len()).then_some(all)
}

fn check_pair(
    cert: &Given<File>,
    key: &Given<File>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<CertificateFiles> {
    let files = CertificateFiles { cert: cert.plain()?, key: key.plain()? };
    if let Some(fault) = (around.pair_fault)(&files.cert, &files.key) {
        let problem = Problem::maybe_at(cert.span(), format!("this certificate cannot be used: {fault}"));
        problems.push(problem.also(key.span(), "its key"));
    }
    Some(files)
}

/// None: it is wrong by itself.
#[allow(clippy::option_option)] // wrong, absent, there
fn check_ca(
    file: Option<&Given<File>>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Option<PathBuf>> {
    let Some(given) = file else { return Some(None) };
    let path = given.plain()?;
    if let Some(fault) = (around.ca_fault)(&path) {
        let message = format!("no certificates can be read from this file: {fault}");
        problems.push(Problem::maybe_at(given.span(), message));
    }
    Some(Some(path))
}

#[allow(clippy::option_option)] // wrong, absent, there
fn check_client_ca(
    raw: &raw::Listen,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Option<(PathBuf, Certified)>> {
    let path = check_ca(raw.client_ca.as_ref(), around, problems)?;
    if path.is_none() && raw.client_certificates.is_written() {
        let message = "without `client_ca` no certificate of a client can be verified";
        problems.push(Problem::maybe_at(raw.client_certificates.span(), message));
    }
    let certified = raw.client_certificates.plain()?;
    Some(path.map(|path| (path, certified)))
}

#[allow(clippy::option_option)] // wrong, absent, there
fn check_admin_tls(
    raw: &raw::Listen,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Option<AdminTls>> {
    let client_ca = check_ca(raw.admin_client_ca.as_ref(), around, problems)?;
    match (&raw.admin_cert, &raw.admin_key) {
        (Some(cert), Some(key)) => {
            let own = check_pair(cert, key, around, problems)?;
            Some(Some(AdminTls { own, client_ca }))
        }
        (Some(alone), None) | (None, Some(alone)) => {
            problems.push(Problem::maybe_at(alone.span(), "`admin_cert` and `admin_key` go together"));
            None
        }
        (None, None) => {
            if let Some(ca) = &raw.admin_client_ca {
                let message = "clients' certificates need TLS: `admin_cert` and `admin_key` beside it";
                problems.push(Problem::maybe_at(ca.span(), message));
            }
            Some(None)
        }
    }
}

fn check_networks(raw: &Given<Vec<Given<Network>>>, problems: &mut Vec<Problem>) -> Option<Vec<tenant::Network>> {
    let written = raw.get()?;
    refuse_more(written, limits::NETWORKS_MAX, "networks", problems);
    Some(written.iter().filter_map(Given::plain).collect())
}

fn check_admin(raw: &raw::Listen, admin: SocketAddr, problems: &mut Vec<Problem>) {
    let data = [&raw.http, &raw.https].into_iter().filter_map(Given::get).flatten();
    let mut same = data.filter(|data| {
        data.plain().is_some_and(|data| admin.port() != 0 && (covers(data, admin) || covers(admin, data)))
    });
    if let Some(other) = same.next() {
        let problem = Problem::maybe_at(raw.admin.span(), "the admin port must not be a data port");
        problems.push(problem.also(other.span(), "clients are served here"));
    }
    let guarded = raw.admin_token.is_some() || raw.admin_client_ca.is_some();
    if !admin.ip().to_canonical().is_loopback() && !guarded {
        let message =
            "others than this machine can reach this address: `admin_token` is needed beside it, or `admin_client_ca`";
        problems.push(Problem::maybe_at(raw.admin.span(), message));
    }
}

/// Whether listening on one leaves nothing of the other.
fn covers(one: SocketAddr, other: SocketAddr) -> bool {
    let family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && family && (one.ip() == other.ip() || one.ip().is_unspecified())
}
