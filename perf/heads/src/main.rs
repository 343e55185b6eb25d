//! The two ends of `perf/fanout`: a provider that pushes heads at a constant rate, and thousands of subscribers.
//!
//! Each is one thread on one epoll, because both ends share two cores with what is measured: a message costs either of them
//! one system call and little more. A header's `extraData` holds two moments of the machine's monotonic clock, when its block
//! was made and when this very copy was sent, so that a receipt anywhere on the machine can be held against both.
//!
//! ```text
//! heads provider PORT HEADS_PER_SECOND
//! heads subscribers PORT PATH COUNT HEADS
//! ```

mod chain;
mod frames;
mod peer;
mod provider;
mod subscribers;

use std::process::exit;
use std::str::FromStr;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["provider", port, rate] => provider::run(number(port), number(rate)),
        ["subscribers", port, path, count, heads] => subscribers::run(number(port), path, number(count), number(heads)),
        _ => usage(),
    };
    if let Err(error) = done {
        eprintln!("heads: {error}");
        exit(1);
    }
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| usage())
}

fn usage() -> ! {
    eprintln!("usage: heads provider PORT HEADS_PER_SECOND | heads subscribers PORT PATH COUNT HEADS");
    exit(2)
}

/// Nanoseconds of the monotonic clock, which all processes of the machine share.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
