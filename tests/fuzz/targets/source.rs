//! What balancers say of their clients: a PROXY header is read alike whole, in parts and with more behind it, and stays
//! within its bound; whatever a request's `X-Forwarded-For` says, the client is one of its words or the balancer itself,
//! and what stands left of a word that is no balancer's changes nothing.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use livechain::limits::PROXY_HEADER_BYTES_MAX;
use livechain::source::{forwarded_client, proxy_header};

fuzz_target!(|data: &[u8]| {
    headers(data);
    forwarded(data);
});

fn headers(data: &[u8]) {
    let whole = proxy_header(data);
    if let Ok(Some(header)) = whole {
        assert!(header.bytes <= data.len().min(PROXY_HEADER_BYTES_MAX));
        assert_eq!(proxy_header(&data[..header.bytes]), whole, "with nothing behind it");
        assert_eq!(proxy_header(&data[..header.bytes - 1]), Ok(None), "short of a byte");
        return;
    }
    if whole.is_ok() {
        assert!(data.len() < PROXY_HEADER_BYTES_MAX, "what never ends is refused");
    }
    for end in 0..data.len() {
        let part = proxy_header(&data[..end]);
        assert!(part == Ok(None) || part == whole, "{part:?} of {end} bytes, {whole:?} of all");
    }
}

fn forwarded(data: &[u8]) {
    let peer = IpAddr::from([10, 0, 0, 1]);
    let is_balancer = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
    let said = forwarded_client(data, peer, is_balancer);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let value: String = text.chars().filter(|one| !one.is_control()).collect();
    let added = "198.51.100.1, 10.0.0.2";
    let head = format!("GET / HTTP/1.1\r\nX-Forwarded-For: {value}\r\nx-forwarded-for: {added}\r\n\r\n");
    assert_eq!(forwarded_client(head.as_bytes(), peer, is_balancer), IpAddr::from([198, 51, 100, 1]));
    assert!(said == peer || !text.is_empty());
}
