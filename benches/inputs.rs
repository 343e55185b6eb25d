//! What clients and providers send, as it looks on the wire: shared by the benches of time and of instructions.

use std::fmt::Write as _;

/// A dapp's library behind a balancer that adds its own fields.
pub(crate) const REQUEST_HEAD: &[u8] = b"POST /rpc/ethereum?meta=0 HTTP/1.1\r\n\
Host: rpc.example.com\r\n\
X-Forwarded-For: 203.0.113.7\r\n\
X-Forwarded-Proto: https\r\n\
User-Agent: viem/2.21.0 node/22.11.0\r\n\
Accept: */*\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Content-Type: application/json\r\n\
Content-Length: 118\r\n\
Connection: keep-alive\r\n\
\r\n";

/// A provider behind a content network.
pub(crate) const REPLY_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
Date: Tue, 14 Oct 2025 09:21:07 GMT\r\n\
Content-Type: application/json\r\n\
Content-Length: 56\r\n\
Connection: keep-alive\r\n\
Vary: Origin, Accept-Encoding\r\n\
Access-Control-Allow-Origin: *\r\n\
Strict-Transport-Security: max-age=31536000\r\n\
X-Request-Id: 5f0c1b9e-8a4e-4c55-9d0c-2b7a5a0a7e11\r\n\
CF-Cache-Status: DYNAMIC\r\n\
CF-RAY: 8d2f1c3b4a5e6f70-IAD\r\n\
Server: cloudflare\r\n\
\r\n";

pub(crate) const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":4711,"method":"eth_getBalance","params":["0x407d73d8a49eeb85d32cf465507dd71d507100c1","latest"]}"#;
pub(crate) const CALL_ID: &[u8] = b"4711";
pub(crate) const REPLY: &[u8] = br#"{"jsonrpc":"2.0","id":4711,"result":"0x234c8a3397aab58"}"#;

/// geth's words for a state that it does not have, hashes and all.
pub(crate) const ERROR_MESSAGE: &str = "missing trie node 6e4f6c8a0d3b8f6f8b9d4a2c1e5f7a3b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f (path ) state \
     0x1d8a4bfcb7b3c6aeb5f3a9f0a0ed0d3f5c5f1d0a6c8b9e7f4a3c2b1d0e9f8a7b is not available";

/// A wallet's refresh: 20 calls of five methods.
pub(crate) fn batch() -> Vec<u8> {
    let calls = (0..20).map(|id| match id % 5 {
        0 => call(id, "eth_blockNumber", "[]"),
        1 => call(id, "eth_getBalance", r#"["0x407d73d8a49eeb85d32cf465507dd71d507100c1","latest"]"#),
        2 => call(id, "eth_getTransactionCount", r#"["0x407d73d8a49eeb85d32cf465507dd71d507100c1","pending"]"#),
        3 => call(id, "eth_getTransactionReceipt", &format!("[\"0x{id:064x}\"]")),
        _ => call(
            id,
            "eth_call",
            r#"[{"to":"0x6b175474e89094c44da98b954eedeac495271d0f","data":"0x70a08231000000000000000000000000407d73d8a49eeb85d32cf465507dd71d507100c1"},"latest"]"#,
        ),
    });
    format!("[{}]", calls.collect::<Vec<_>>().join(",")).into_bytes()
}

fn call(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// The answer to `eth_getLogs`, the largest that fits 64 KiB.
pub(crate) fn reply_64k() -> Vec<u8> {
    let mut reply = r#"{"jsonrpc":"2.0","id":4711,"result":["#.to_owned();
    let mut number = 0;
    loop {
        let mut log = String::new();
        let _ = write!(
            log,
            r#"{{"address":"0x6b175474e89094c44da98b954eedeac495271d0f","topics":["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef","0x{number:064x}","0x{:064x}"],"data":"0x{:064x}","blockNumber":"0x1234567","transactionHash":"0x{:064x}","transactionIndex":"0x{:x}","blockHash":"0x{:064x}","logIndex":"0x{number:x}","removed":false}}"#,
            number * 7,
            number * 1_000_003,
            number * 31,
            number / 2,
            19_088_743,
        );
        if reply.len() + log.len() + 3 > 64 * 1024 {
            reply.push_str("]}");
            return reply.into_bytes();
        }
        if number > 0 {
            reply.push(',');
        }
        reply.push_str(&log);
        number += 1;
    }
}

/// The same in chunks of 8 KiB, as a node's server writes it.
pub(crate) fn chunked_64k() -> Vec<u8> {
    let mut wire = Vec::new();
    for piece in reply_64k().chunks(8 * 1024) {
        livechain::http::write_chunk_head(&mut wire, piece.len());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(livechain::http::CHUNK_END);
    }
    wire.extend_from_slice(livechain::http::LAST_CHUNK);
    wire
}

/// The filter of an indexer's `eth_getLogs`.
pub(crate) const LOGS_PARAMS: &[u8] = br#"[{"address":"0x63b92f7e2f69877184c955e63b9d8dff55e52e14","topics":["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"],"fromBlock":"0x1312c00","toBlock":"0x1312cff"}]"#;
