//! Whose connection and whose request it is, where a balancer stands before the node: the PROXY protocol's header at a
//! connection's beginning, and `X-Forwarded-For` in a request's head. Pure.
//!
//! Both are words of whoever sends them. Whether they are believed is for the caller to ask first, by the network that
//! they come from: here they are only read.

mod forwarded;
mod proxy;

pub use forwarded::forwarded_client;
pub use proxy::{Announced, ProxyError, ProxyHeader, proxy_header};
