//! Every bound of the program, with its reason. What an operator may change has its default here.
//!
//! A bound that depends on another says so in a `const` assertion below it: a change of one alone does not compile.

use std::time::Duration;

/// Bytes of a request head. Browsers and SDKs send under 2 KiB; keys and cookies may be long.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a message. No client of JSON-RPC sends 40.
pub const HEADERS_MAX: usize = 100;

/// Longest latency that a histogram tells apart: beyond the longest deadline of any class it is all the same.
pub const LATENCY_US_MAX: u64 = 120_000_000;

/// Significant digits of a latency histogram: 1 % of error ranks providers; three digits would need ten times the memory.
pub const LATENCY_DIGITS: u8 = 2;

/// Rows on the way from a shard to control. A ring that is full only delays.
pub const ROWS_IN_RING_MAX: usize = 256;

/// Events on the way from a shard to control; a storm beyond is counted, not told one by one.
pub const EVENTS_IN_RING_MAX: usize = 1024;

/// Access records on the way: 40,000 a second at a drain every 100 ms.
pub const ACCESS_IN_RING_MAX: usize = 4096;

/// Bytes of a provider's answer read whole before the first one goes out, so that a stall or a cut can fail over.
pub const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// Bytes taken from a socket at once: one answer of the usual size, and one piece of a streamed one.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Interim (1xx) heads skipped before an answer; none is expected, as no `Expect` is sent.
pub const INTERIM_HEADS_MAX: usize = 8;

/// Compressed bytes handed to the decoder at once: deflate's worst ratio is 1,032, so a bomb yields 1 MiB a step.
pub const GZIP_SLICE_BYTES: usize = 1024;

/// Addresses of one name tried for one connection.
pub const ADDRESSES_TRIED_MAX: usize = 4;

/// First size of a shard's buffer: a head and a small call or answer fit without growing.
pub const BUFFER_BYTES: usize = 4 * 1024;

/// A buffer that has grown beyond this is freed, not kept: one large message must not cost memory for ever.
pub const BUFFER_KEPT_BYTES_MAX: usize = 128 * 1024;

/// Buffers kept free in one shard; at [`BUFFER_KEPT_BYTES_MAX`] each this is 16 MiB at the very worst.
pub const BUFFERS_KEPT_MAX: usize = 128;
const _: () = assert!(BUFFER_KEPT_BYTES_MAX >= WHOLE_BYTES_MAX + HEAD_BYTES_MAX);

/// Rows that one shard fills between two shipments: every class of 800 providers. A row beyond is not measured.
pub const ROWS_PER_SHARD_MAX: usize = 8 * 1024;

/// Methods that one provider is remembered to lack, in one shard: more than any provider leaves out of the known ones.
pub const LACKING_METHODS_MAX: usize = 64;

/// How long a provider's word that it lacks a method is believed; a plan or a node may be upgraded.
pub const LACKING_METHOD_BELIEVED: Duration = Duration::from_mins(5);

/// Windows of `body_timeout` that one body may take in all: ten minutes by default, in which the slowest line brings ten
/// mebibytes. Without it, a byte before each window's end would hold a connection for ever.
pub const BODY_WINDOWS_MAX: u32 = 20;

/// How long what a client still sends is read and dropped after its last answer; longer than a round trip round the globe.
pub const LINGER: Duration = Duration::from_secs(2);

/// Bytes read and dropped meanwhile.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Providers' TLS sessions that one shard remembers: two for each of a hundred providers.
pub const TLS_SESSIONS_PER_SHARD_MAX: usize = 256;

/// First wait after accepting failed for want of descriptors; doubles up to the second.
pub const ACCEPT_DELAY_FIRST: Duration = Duration::from_millis(5);
/// Descriptors come back as clients leave: a second is soon enough and no busy loop.
pub const ACCEPT_DELAY_MAX: Duration = Duration::from_secs(1);

/// Locked memory that glommio asks for, for each shard.
pub const MEMLOCK_BYTES_PER_SHARD: usize = 512 * 1024;

/// Timers of one shard, made on use: one for each client's connection and each connection to a provider, and some to spare.
pub const TIMERS_PER_SHARD_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(TIMERS_PER_SHARD_MAX as u64 >= 4 * CONNECTIONS_PER_SHARD_MAX);

/// Transactions that one shard remembers having sent: minutes of any reseller's writes, 32 KiB.
pub const SENT_TRANSACTIONS_KEPT: usize = 1024;

/// How often a closing shard looks whether its last client has gone.
pub const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Rings of the doorbell taken at once; what they say is in the snapshot, however many there are.
pub const BELL_BYTES_MAX: usize = 64;

/// Providers of one chain. One bit each in a word tells which ones a call has tried; resellers have under 20.
pub const PROVIDERS_PER_CHAIN_MAX: usize = 64;
const _: () = assert!(PROVIDERS_PER_CHAIN_MAX <= u64::BITS as usize);

/// Attempts for one call, the first included: a third answers what two could not often enough, a fourth only adds load.
pub const ATTEMPTS_MAX: u8 = 3;

/// Tries to change a word that all shards share before the news is dropped. It is written in trouble alone, by as many
/// threads as there are cores: a loop that loses this often says nothing that the winners did not say.
pub const WORD_TRIES_MAX: usize = 64;

/// Timers that fire or move down the wheel in one call, so that ten thousand idle connections falling due in the same
/// millisecond do not hold up the calls of that turn: about 20 µs.
pub const TIMERS_PER_TURN_MAX: usize = 1024;

// JSON-RPC

/// Objects and arrays that may be open at once in a JSON text. The deepest honest call (an access list within a
/// call within a batch) has 7; `serde_json`'s own bound, which most clients and nodes share, is 128.
pub const JSON_DEPTH_MAX: usize = 128;

/// Bytes of a method's name, unescaped. The longest known one has 41.
pub const METHOD_BYTES_MAX: usize = 256;

/// Most of `rpc.batch_items_max`: every item is a call with its own state.
pub const BATCH_ITEMS_MAX: u64 = 10_000;

/// Bytes that a shard's parse buffers may keep between texts; a larger text's buffers are given back after it.
/// Every answer that is read whole (64 KiB) stays well below, with its tape.
pub const SCRATCH_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Bytes at the head of an answer too large to be read whole in which its `result` or `error` key must begin.
pub const REPLY_PREFIX_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a provider's error message that are searched for its class. Real ones are under 1 KiB; a revert
/// reason may be as long as the caller likes.
pub const ERROR_MESSAGE_SEARCHED_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a filter id as a provider writes it. Nodes write up to 34, gateways up to 100.
pub const FILTER_ID_BYTES_MAX: usize = 256;

/// Bytes of a raw transaction that is hashed here: 2 MiB is twice what a node's pool takes, six blobs included.
pub const TRANSACTION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Empty lines skipped before a request line. RFC 9112 asks for tolerance of one, left behind by an old client's body.
pub const EMPTY_LINES_MAX: usize = 2;

/// Hexadecimal digits of a chunk's size: what a `u64` holds. Leading zeros count.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of chunk extensions in one message. Nobody sends any; without a bound one chunk line never ends.
pub const CHUNK_EXTENSION_BYTES_MAX: u32 = 4 * 1024;

/// Bytes of trailer fields after a chunked body; they are read past.
pub const CHUNK_TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// Longest that a `Retry-After` is believed: a provider that asks for a day is tried again after an hour.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

// Spans into a head are 16 bits wide.
const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);

// --- What an operator writes (`config`) ---

/// Bytes of a config file. 500 chains with ten providers each take about 1 MiB.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Problems drawn for one file; what comes after is counted. Nobody mends more between two runs.
pub const PROBLEMS_SHOWN_MAX: usize = 100;

/// Bytes of a region, a node's, a chain's or a provider's name: each is a label of every metric and stands in headers.
pub const LABEL_BYTES_MAX: usize = 64;

/// Chains of one node. Every one costs rankings, histograms and metric series; a catalogue beyond this is better split over nodes.
pub const CHAINS_MAX: usize = 512;

/// Regions that one provider may list: every cloud's regions together are fewer.
pub const REGIONS_PER_PROVIDER_MAX: usize = 128;

/// Headers configured for one provider; credentials take one or two, and ours must fit beside them in a head.
pub const PROVIDER_HEADERS_MAX: usize = 16;

/// Rules about one provider's errors: each is tried on every error of it.
pub const ERROR_RULES_MAX: usize = 64;

/// Bytes of what such a rule looks for in a message.
pub const ERROR_WORDS_BYTES_MAX: usize = 256;

/// Bytes of one configured header value. Signed tokens are under 4 KiB; common servers refuse lines over 8 KiB.
pub const PROVIDER_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a provider's URL: common servers refuse a longer request line.
pub const URL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of the admin token: it has to fit a request head of ours with room to spare.
pub const ADMIN_TOKEN_BYTES_MAX: usize = 1024;

/// Addresses of one node's `listen.http`: each is one listening socket a shard.
pub const LISTEN_MAX: usize = 16;

/// Cross-origin origins and blocked methods are looked through in turn on each request that needs them.
pub const PATTERNS_MAX: usize = 256;

/// The largest chain id: EIP-2294's, which keeps replay-protected signatures within 64 bits.
pub const CHAIN_ID_MAX: u64 = u64::MAX / 2 - 36;

/// Shortest configurable timeout, in ms: below it a busy turn of a shard alone could make it fire.
pub const TIMEOUT_MS_MIN: u64 = 10;

/// Longest configurable timeout, in ms: an hour. Longer means "never", which no queue or connection may do.
pub const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Longest memory of a cross-origin pre-flight, in ms: browsers cap it at a day.
pub const CORS_MAX_AGE_MS_MAX: u64 = 86_400_000;

/// Default of `http.cors.max_age`, in ms: what browsers cap at two hours (Chromium) is asked once in ten minutes.
pub const CORS_MAX_AGE_MS_DEFAULT: u64 = 600_000;

/// Shortest block time, in ms; the fastest chains in use make a block in 100 ms or less.
pub const BLOCK_TIME_MS_MIN: u64 = 10;

/// Default of `chains.block_time`, in ms: Ethereum's.
pub const BLOCK_TIME_MS_DEFAULT: u64 = 12_000;

/// Default of `listen.http`: the port that Ethereum nodes answer on, so that clients need another host only.
pub const LISTEN_HTTP_DEFAULT: &str = "0.0.0.0:8545";

/// Default of `listen.admin`: seen by this machine alone.
pub const LISTEN_ADMIN_DEFAULT: &str = "127.0.0.1:9545";

/// Default of `shards.connections_max`: at under 8 KiB an idle connection, 80 MiB a shard.
pub const CONNECTIONS_PER_SHARD_DEFAULT: u64 = 10_000;

/// Most client connections of one shard: 8 GiB of idle ones.
pub const CONNECTIONS_PER_SHARD_MAX: u64 = 1_000_000;

/// Default of `http.head_timeout`, in ms: a head is one packet or two; three TCP retransmissions fit.
pub const HEAD_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Default of `http.body_timeout`, in ms without a byte of progress: a mobile client's change of cell fits.
pub const BODY_TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// Default of `http.idle_timeout`, in ms: longer than the 60 s of common load balancers, so that they close first and
/// no request of theirs meets a connection being closed.
pub const CLIENT_IDLE_TIMEOUT_MS_DEFAULT: u64 = 75_000;

/// Default of `http.body_bytes_max`: twice what geth takes (5 MiB), since a batch is split before it gets there.
pub const BODY_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;

/// Least of `http.body_bytes_max`: a signed transaction with calldata fits.
pub const BODY_BYTES_MIN: u64 = 1024;

/// Most of `http.body_bytes_max`: a body stands in memory whole.
pub const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Default of `rpc.batch_items_max`: what ethers sends at most by default.
pub const BATCH_ITEMS_DEFAULT: u64 = 100;

/// Default of `rpc.batch_in_flight_max`: hides a provider's round trips without one client filling its pool.
pub const BATCH_IN_FLIGHT_DEFAULT: u64 = 16;

/// Default of `rpc.batch_bytes_max`: about geth's own bound of a batch's answer (25 MB).
pub const BATCH_BYTES_DEFAULT: u64 = 25 * 1024 * 1024;

/// Least of `rpc.batch_bytes_max`: one answer that is read whole.
pub const BATCH_BYTES_MIN: u64 = 64 * 1024;

/// Most of `rpc.batch_bytes_max`: an assembled answer stands in memory whole.
pub const BATCH_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Default deadline of the class head, in ms: every node has the number at hand.
pub const DEADLINE_HEAD_MS_DEFAULT: u64 = 1_000;
/// Default deadline of the class read, in ms: one look-up.
pub const DEADLINE_READ_MS_DEFAULT: u64 = 2_000;
/// Default deadline of the class receipt, in ms: a block's receipts are computed by some nodes.
pub const DEADLINE_RECEIPT_MS_DEFAULT: u64 = 3_000;
/// Default deadline of the class execute, in ms: geth's own limit of `eth_call`.
pub const DEADLINE_EXECUTE_MS_DEFAULT: u64 = 5_000;
/// Default deadline of the class logs, in ms: providers cut ranges so that they answer within it.
pub const DEADLINE_LOGS_MS_DEFAULT: u64 = 5_000;
/// Default deadline of the class proof, in ms: a trie is walked from disk.
pub const DEADLINE_PROOF_MS_DEFAULT: u64 = 10_000;
/// Default deadline of the class trace, in ms: a block is executed again; below the 60 s of load balancers.
pub const DEADLINE_TRACE_MS_DEFAULT: u64 = 45_000;
/// Default deadline of the class write, in ms: a transaction is worth waiting for, and is never sent twice unknowingly.
pub const DEADLINE_WRITE_MS_DEFAULT: u64 = 10_000;
/// Default deadline of the class filter, in ms: as logs, which they read.
pub const DEADLINE_FILTER_MS_DEFAULT: u64 = 5_000;
/// Default deadline of every other method, in ms.
pub const DEADLINE_OTHER_MS_DEFAULT: u64 = 10_000;

/// Default of `upstream.connect_timeout`, in ms: a lost SYN is sent again after one second, and answered within the next.
pub const CONNECT_TIMEOUT_MS_DEFAULT: u64 = 2_000;

/// Default of `upstream.progress_timeout`, in ms without a byte: a provider that scans sends something in it.
pub const PROGRESS_TIMEOUT_MS_DEFAULT: u64 = 15_000;

/// Default of `upstream.idle_timeout`, in ms: below most providers' own (nginx 75 s), so that we close first.
pub const UPSTREAM_IDLE_TIMEOUT_MS_DEFAULT: u64 = 60_000;

/// Default of `upstream.connections_max`: 256 calls in flight at 50 ms each are 5,000 calls a second of one shard.
pub const UPSTREAM_CONNECTIONS_DEFAULT: u64 = 256;

/// Most of `upstream.connections_max`: descriptors and local ports of one address.
pub const UPSTREAM_CONNECTIONS_MAX: u64 = 16_384;

/// Default of `upstream.connections_warm`: one for the next call and one for the call beside it.
pub const UPSTREAM_WARM_DEFAULT: u64 = 2;

/// Default of `upstream.queue_max`: four rounds of the pool; what waits longer is better served by the next provider.
pub const UPSTREAM_QUEUE_DEFAULT: u64 = 1024;

/// Most of `upstream.queue_max`.
pub const UPSTREAM_QUEUE_MAX: u64 = 65_536;

/// Default of `upstream.user_timeout`, in ms: RFC 9293's 100 s would outlast every deadline but the longest.
pub const USER_TIMEOUT_MS_DEFAULT: u64 = 20_000;

/// Most of `breaker.failures`: it never opens in practice.
pub const BREAKER_FAILURES_MAX: u64 = 1_000;

/// Default of `life.drain_delay`, in ms: two checks of a balancer that asks every two seconds.
pub const DRAIN_DELAY_MS_DEFAULT: u64 = 5_000;

/// Default of `life.drain_limit`, in ms: most deadlines are over by then. With `drain_delay` it must stay below the
/// supervisor's patience (Kubernetes: 30 s unless told), or the process is killed first.
pub const DRAIN_LIMIT_MS_DEFAULT: u64 = 30_000;

/// Most of `chains.providers.priority` and `weight`: a share of 1 in 10,000 is already one call in a while.
pub const WEIGHT_MAX: u64 = 10_000;

const _: () = assert!(TIMEOUT_MS_MIN <= DEADLINE_HEAD_MS_DEFAULT && DEADLINE_TRACE_MS_DEFAULT <= TIMEOUT_MS_MAX);
const _: () = assert!(BATCH_IN_FLIGHT_DEFAULT <= BATCH_ITEMS_DEFAULT && BATCH_ITEMS_DEFAULT <= BATCH_ITEMS_MAX);
const _: () = assert!(UPSTREAM_WARM_DEFAULT <= UPSTREAM_CONNECTIONS_DEFAULT);
const _: () = assert!(BODY_BYTES_MIN <= BODY_BYTES_DEFAULT && BODY_BYTES_DEFAULT <= BODY_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MIN <= BATCH_BYTES_DEFAULT && BATCH_BYTES_DEFAULT <= BATCH_BYTES_MAX);
const _: () = assert!(PROVIDER_HEADERS_MAX * PROVIDER_HEADER_BYTES_MAX <= 4 * HEAD_BYTES_MAX);

// ---- Sockets (shard/ring), each per shard ----

/// Entries of the submission queue, 64 bytes each. A turn of 256 completions seldom queues more than two each.
pub const RING_SUBMISSIONS: u32 = 1024;

/// Entries of the completion queue, 16 bytes each. Room for every buffer and as many sends, accepts and closes over
/// again; what overflows is kept by the kernel, but ends every multishot operation that it hits.
pub const RING_COMPLETIONS: u32 = 8192;

/// Completions handed out before the tasks that they woke run: 256 tasks at a few µs make a turn of about a
/// millisecond at worst, and batches do not gain above some tens.
pub const RING_COMPLETIONS_PER_TURN: usize = 256;

/// Bytes of a receive buffer: holds nearly every JSON-RPC request and most answers whole, while a chunk of a large answer
/// costs one completion per 16 KiB. Pages behind a short message are not touched.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// Receive buffers: 4 MiB when all pages were touched, 1 MiB for short messages only. The kernel takes them in turn, so that
/// their number is what the caches must hold. A buffer is held from the kernel's copy to the task's read, usually within
/// one turn; when it is not, unread bytes are spilled to the heap.
pub const RECEIVE_BUFFERS: u16 = 256;

/// Unread bytes of a connection at which its receive is paused: what a fast provider can pile up before a slow client, on top of
/// what the kernel delivers at once (at worst the whole pool). Eight buffers keep a turn's worth of bulk transfer flowing.
pub const RECEIVE_UNREAD_BYTES_MAX: usize = 128 * 1024;

/// Buffers of unread bytes at which a receive is paused: bounds a sender of single bytes, each of which takes a buffer.
pub const RECEIVE_UNREAD_BUFFERS_MAX: usize = 32;

/// Bytes that a connection stages while a send is under way: four TLS records; a writer of more waits.
pub const SEND_STAGED_BYTES_MAX: usize = 64 * 1024;

/// Empty send buffers kept for reuse: at 128 KiB each 16 MiB at the very worst; usual ones have 4 KiB.
pub const SEND_SPARE_BUFFERS_MAX: usize = 128;

/// Accepted connections that wait for the accepting task before the kernel's queue takes over.
pub const ACCEPTED_WAITING_MAX: usize = 128;

/// Connections taken out of the kernel's queue when a listener stops: no backlog is longer.
pub const LISTEN_BACKLOG_MAX: usize = 65_536;

const _: () = assert!(RECEIVE_UNREAD_BYTES_MAX >= 4 * RECEIVE_BUFFER_BYTES, "half the cap holds more than one buffer");
const _: () = assert!(RING_COMPLETIONS as usize >= 4 * RECEIVE_BUFFERS as usize, "receives do not overflow the queue");
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two(), "the kernel's ring needs it");

// ---- Control plane ----

/// Connections that wait to be accepted, per listening socket. The kernel cuts it to `net.core.somaxconn` (4096 by
/// default since Linux 5.4): a storm of reconnecting clients is held until the shard comes to it.
pub const LISTEN_BACKLOG: i32 = 4096;

/// How often events and access records are taken out of their rings.
/// How often rows are merged. Four times a second is fresh for a scrape, and a ring of rows is not full by then.
pub const ROWS_EVERY: Duration = Duration::from_millis(250);

/// How often events and access records are taken out of their rings, and probes that are due are sent.
pub const REPORTS_EVERY: Duration = Duration::from_millis(100);

/// How much of the past the percentiles of pages tell about: this much to twice this much. Shorter leaves a provider
/// that is seldom asked without a figure, longer hides this hour's trouble behind the morning's calm.
pub const LATENCY_WINDOW: Duration = Duration::from_mins(5);

/// Upper edges of the latency histogram in metrics, microseconds. Dense from 5 to 500 ms, where providers differ; the
/// last is past every default deadline but the traces'.
pub const LATENCY_BUCKETS_US: [u64; 18] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 35_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000, 45_000_000,
];

/// Wait for names before the node serves anyway: a dead resolver must not keep the providers that need none from
/// serving, and 3 s is a lost datagram's retry.
pub const NAMES_FIRST_WAIT: Duration = Duration::from_secs(3);

/// A name is asked for again at the earliest after this, whatever its TTL says: some balancers give 0.
pub const NAMES_TTL_MIN: Duration = Duration::from_secs(5);

/// And at the latest after this: a TTL of a day would hide a provider's move for a day.
pub const NAMES_TTL_MAX: Duration = Duration::from_mins(5);

/// Wait after a name's first failure; doubles with each one in a row.
pub const NAMES_RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest wait between two tries of a failing name.
pub const NAMES_RETRY_MAX: Duration = Duration::from_mins(1);

/// The longest wait for a name's answer, the resolver's own retries included.
pub const NAMES_LOOKUP_MAX: Duration = Duration::from_secs(20);

/// Names asked for at the same time: a config of hundreds of providers is no burst for the resolver.
pub const NAMES_IN_FLIGHT_MAX: usize = 16;

/// Addresses kept of one name. Balancers give up to 8; beyond it no connection attempt would come to them.
pub const NAME_ADDRESSES_MAX: usize = 16;

/// How long a process that takes the ports over may need from connecting to being ready: its names, its shards.
pub const UPGRADE_WAIT: Duration = Duration::from_mins(1);

/// How long either side of an upgrade waits for a message that the other only has to write.
pub const UPGRADE_MESSAGE_WAIT: Duration = Duration::from_secs(5);

/// Bytes of an upgrade's manifest: some tens of addresses.
pub const UPGRADE_MANIFEST_BYTES_MAX: usize = 64 * 1024;

/// Listening sockets handed over: more addresses × shards than any machine has cores for.
pub const UPGRADE_DESCRIPTORS_MAX: usize = 4096;

/// Descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
pub const UPGRADE_DESCRIPTORS_PER_MESSAGE: usize = 64;

/// Log lines that wait for a slow terminal or disk; one beyond is dropped and counted. Four rings' worth.
pub const LOG_LINES_MAX: usize = 4 * ACCESS_IN_RING_MAX;

/// Body of a request to the admin port: none of its requests has one.
pub const ADMIN_BODY_BYTES_MAX: usize = 16 * 1024;

/// Connections of the admin port: scrapers, balancers, operators, and descriptors that the data port does not have.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Silence that ends a connection of the admin port: longer than scrapers wait between two scrapes.
pub const ADMIN_IDLE: Duration = Duration::from_mins(2);

/// Time for an answer of the admin port: all of them come out of memory.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long handshakes that have begun may take to end before listening sockets are closed: a round trip round the globe.
pub const HANDSHAKE_LAST: Duration = Duration::from_millis(300);

/// How long the end of the process waits for the admin port's last answers, once the shards have finished.
pub const ADMIN_LAST: Duration = Duration::from_secs(1);

/// Wait between two looks whether the shards have ended: adds at most this to the time of a stop.
pub const JOIN_EVERY: Duration = Duration::from_millis(10);

const _: () = assert!(UPGRADE_DESCRIPTORS_PER_MESSAGE <= 253, "the kernel refuses more in one message");
const _: () = assert!(NAMES_LOOKUP_MAX.as_secs() < NAMES_RETRY_MAX.as_secs(), "or a name is asked for twice at a time");
const _: () =
    assert!(NAMES_FIRST_WAIT.as_secs() < UPGRADE_WAIT.as_secs(), "a newcomer waits for names before it is ready");
const _: () = assert!(ACCESS_IN_RING_MAX as u128 * 1000 >= 40_000 * REPORTS_EVERY.as_millis(), "as its ring promises");

/// Pause after a connection that was to be kept warm could not be opened: a dead provider is not knocked at all the time.
pub const WARM_PAUSE: Duration = Duration::from_secs(5);

/// Longest spin before a shard sleeps, in microseconds: beyond ten milliseconds it is a busy loop, not a short look.
pub const SPIN_US_MAX: u64 = 10_000;

/// Memory that an executor reserves for files: the least that glommio takes, since a shard touches none.
pub const EXECUTOR_IO_BYTES: usize = 64 * 1024;

/// How often a saturated executor attends to rings of its own: never, as good as. Nothing of a shard waits there, and a
/// look that comes at the wrong moment makes glommio 0.9 park with tasks that are ready.
pub const EXECUTOR_PREEMPT: Duration = Duration::from_hours(24 * 365);

/// Rest of a task that found no room on the wheel for its sleep: it must not spin.
pub const UNTIMED_PAUSE: Duration = Duration::from_millis(10);

/// Largest JSON text that our own reader takes before simd-json does.
pub const SMALL_JSON_BYTES_MAX: usize = 512;

/// Bytes of an answer that is sent without waiting for the client to take it: it fits in any socket's memory, and a
/// client that takes nothing holds no more than this of ours while it idles. A larger one is waited for, with progress watched.
pub const ANSWER_UNAWAITED_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a head that a connection keeps to know it again: clients of JSON-RPC send 150 to 500. Each idle connection that
/// has brought two requests holds as much.
pub const REPEATED_HEAD_BYTES_MAX: usize = 1024;

// ---- Ranking ----

/// Methods of one chain that are ranked by themselves because they are not like their class. Chains have two or three (a
/// heavy trace, a cheap look-up); each costs as much memory and merging as a class.
pub const PROMOTED_METHODS_MAX: usize = 16;

// ---- Gates (routing) ----

/// Calls or units a second of one provider or key from which shards take several at once: below it, a compare-and-swap a call
/// is nothing, and 10 ms of the rate are fewer than two.
pub const CHUNKED_FROM: u32 = 200;

/// What a shard may count ahead of a provider's or a key's month: this part of the plan, so that a node of 64 shards is off by
/// less than a thousandth of it at worst, and never beyond it.
pub const MONTH_CHUNK_PART: u64 = 100_000;

/// Bytes taken at once while an answer's head is awaited: one TLS record's worth, since TLS zeroes the room that it reads into,
/// and most answers are small.
pub const FIRST_READ_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(FIRST_READ_BYTES_MAX <= READ_BYTES_MAX);

// ---- Config of ranking and breakers ----

/// Default of `ranking.interval`, in ms: fresh for a scrape, a ring of rows is not full by then, and a change is seen
/// within half a second of the first call that shows it.
pub const RANKING_INTERVAL_MS_DEFAULT: u64 = 250;
/// Least of `ranking.interval`, in ms: merging and publishing hundreds of chains takes some of it.
pub const RANKING_INTERVAL_MS_MIN: u64 = 50;
/// Most of `ranking.interval`, in ms: a grant to explore waits three of them for its sample.
pub const RANKING_INTERVAL_MS_MAX: u64 = 2_000;

/// Least of `ranking.half_life` and `ranking.explore_stale`, in ms: below it nothing is ever known.
pub const EVIDENCE_MS_MIN: u64 = 1_000;

/// Least and most of `ranking.samples_max`: a percentile of fewer is a guess; of more, nothing new.
pub const SAMPLES_MIN: u64 = 20;
pub const SAMPLES_MAX: u64 = 100_000;

/// Most of ranking's other counts of samples and calls: beyond, they never hold.
pub const RANKING_COUNT_MAX: u64 = 10_000;

/// Most of one grant's calls: it travels as a byte.
pub const EXPLORE_BURST_MAX: u64 = 255;

/// Most of `ranking.explore_share`, in thousandths: with more, exploring is what a chain does.
pub const EXPLORE_SHARE_THOUSANDTHS_MAX: u64 = 500;

/// Default of `breaker.ratio_window`, in ms: at two calls a second its least volume is reached.
pub const BREAKER_RATIO_WINDOW_MS_DEFAULT: u64 = 10_000;
/// Least of `breaker.ratio_window`, in ms: some intervals of ranking, in which shards report.
pub const BREAKER_RATIO_WINDOW_MS_MIN: u64 = 1_000;

/// Steps by which a window of failures moves on: it is a sixteenth longer or shorter than it says.
pub const RATIO_STEPS: u32 = 16;

/// Most of `breaker.ratio_calls_min`: it never opens in practice.
pub const BREAKER_RATIO_CALLS_MAX: u64 = 1_000_000;

/// Most of `breaker.trials`: they are counted in three bits of a word.
pub const BREAKER_TRIALS_MAX: u64 = 7;

// ---- Events ----
// ---- Probes, heads and events ----

/// Orders to one shard for questions of the node's own, and words on the way back. Control sends one a provider at a time:
/// what finds no room waits its lease, a few seconds.
pub const PROBES_IN_RING_MAX: usize = 256;

/// Probes that one shard has under way: providers that hang hold no more of its connections and timers than this.
pub const PROBES_RUNNING_MAX: usize = 64;
const _: () = assert!(PROBES_RUNNING_MAX <= PROBES_IN_RING_MAX);

/// A probe without a word is forgotten this long after its deadline: it was lost with its shard, or waited for room.
pub const PROBE_LEASE_BEYOND: Duration = Duration::from_secs(10);

/// Default of `probes.timeout`, in ms: five times what clients give the same call, so that a provider is only called
/// unreachable when it is.
pub const PROBE_TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// Most of `probes.busy_calls`: nothing is ever busy.
pub const PROBE_BUSY_CALLS_MAX: u64 = 1_000_000_000;

/// Most of a lag in blocks: a day's of the fastest chain.
pub const LAG_BLOCKS_MAX: u64 = 1_000_000;

/// Events kept for whoever comes late: an incident's, with what came before it.
pub const EVENTS_KEPT_MAX: usize = 256;

/// Events that a reader of `/api/events` may be behind; then it is sent away, to come back for what is kept.
pub const EVENTS_BEHIND_MAX: usize = 256;

/// Readers of `/api/events`: dashboards and operators, with most of the admin port's connections left to others.
pub const EVENTS_READERS_MAX: usize = 32;
const _: () = assert!(EVENTS_READERS_MAX * 4 <= ADMIN_CONNECTIONS_MAX);

/// Silence after which a reader of `/api/events` is sent a comment: well below what proxies and the admin port cut.
pub const EVENTS_ALIVE_EVERY: Duration = Duration::from_secs(15);
const _: () = assert!(EVENTS_ALIVE_EVERY.as_secs() * 2 <= ADMIN_IDLE.as_secs());

/// Between two events of one provider that refuses our credentials: it does so with every call, and the kept events are an
/// incident's.
pub const REFUSAL_TOLD_EVERY: Duration = Duration::from_mins(1);

/// Timers kept for the next call: as many as calls that commonly wait side by side in one shard.
pub const TIMERS_SPARE_MAX: usize = 256;

/// Most of `hedging.floor` and `hedging.cap`, in ms: beyond the longest default deadline a hedge comes too late for any call.
pub const HEDGE_DELAY_MS_MAX: u64 = 60_000;

/// Most of `hedging.budget_percent`: every second attempt is one too many beyond it.
pub const HEDGE_PERCENT_MAX: u64 = 100;

/// Most of `hedging.saved_max`: a second's hedges of a busy shard.
pub const HEDGES_SAVED_MAX: u64 = 10_000;

/// Most of a provider's calls or units in a second: no vendor sells more to one node.
pub const OUTBOUND_PER_SECOND_MAX: u64 = 10_000_000;

/// Most of its units in a month: 48 bits count them.
pub const OUTBOUND_PER_MONTH_MAX: u64 = 100_000_000_000_000;
const _: () = assert!(OUTBOUND_PER_MONTH_MAX < 1 << 48);

/// Most of its calls in flight: all connections of all shards.
pub const OUTBOUND_IN_FLIGHT_MAX: u64 = 1_000_000;

/// Most that a method weighs, in compute units: some hundred times the dearest of published tables.
pub const UNITS_MAX: u64 = 1_000_000;

/// Blocks below its own newest one up to which a provider that lags is asked like any other: what it says of them is settled,
/// whatever became of its newest. Two epochs of Ethereum, after which blocks are final; elsewhere that takes fewer.
pub const LAGGING_SETTLED_BLOCKS: u64 = 64;

/// Bytes of a call's params searched for words that its error may repeat; of longer ones it may repeat anything. A thousand
/// times what calls are like, and tens of microseconds to search.
pub const PARAMS_SEARCHED_BYTES_MAX: usize = 64 * 1024;

/// Hedges are due at multiples of this, in microseconds: by so much a hedge may come late, less than half of the shortest wait.
pub const HEDGE_GRID_US: u64 = 8_000;

// ---- WebSocket ----

/// Default of a WebSocket message's bytes, inflated ones too: as [`BODY_BYTES_DEFAULT`], since it holds the same.
pub const WEBSOCKET_MESSAGE_BYTES_DEFAULT: usize = 10 * 1024 * 1024;
const _: () = assert!(WEBSOCKET_MESSAGE_BYTES_DEFAULT as u64 == BODY_BYTES_DEFAULT);

/// Fragments of a message. The conformance suite sends 4 MiB in parts of 64 bytes, 65,536 of them; nobody else comes
/// near. What it bounds are empty ones, which no limit of bytes ends.
pub const WEBSOCKET_FRAGMENTS_MAX: u32 = 128 * 1024;

/// Control frames that a peer may send at once: their answers, with nobody reading them, are 16 KiB.
pub const WEBSOCKET_CONTROL_BURST: u32 = 128;

/// And one more for each time this passes: peers ping every few seconds, and answer our pings.
pub const WEBSOCKET_CONTROL_EVERY: Duration = Duration::from_millis(100);

/// Level of what we compress: the fastest. What repeats in JSON of a chain (keys, padding of zeros) repeats close by,
/// and a shard's time is dearer than the last tenth of a link's bytes.
pub const DEFLATE_LEVEL: u32 = 1;

/// Bytes by which a packed or unpacked message's buffer grows at once; a bomb is found out at the latest this far
/// behind its bound.
pub const DEFLATE_STEP_BYTES: usize = 64 * 1024;

// ---- Subscriptions ----

/// Topics of a log: what the EVM has.
pub const FILTER_TOPICS_MAX: usize = 4;

/// Addresses of a filter, and alternatives of one topic: geth's own bound.
pub const FILTER_ALTERNATIVES_MAX: usize = 1000;

/// Delivered blocks that a stream remembers: Ethereum's finality is 64 to 96, and no chain reorganises deeper in
/// earnest.
pub const WINDOW_BLOCKS_MAX: usize = 256;

/// Bytes of headers and logs that a stream remembers, a gap being filled included. The logs of a busy filter are some
/// 100 KiB a block; what does not fit is remembered for fewer blocks.
pub const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Blocks of a gap that is filled: 25 minutes of Ethereum, half a minute of the fastest chains. A client that lost more
/// is better off to ask for what it needs.
pub const GAP_BLOCKS_MAX: usize = 128;
const _: () = assert!(GAP_BLOCKS_MAX <= WINDOW_BLOCKS_MAX);

/// What a stream asks for at the same time: hides round trips without being a load.
pub const FETCHES_IN_FLIGHT_MAX: usize = 8;

/// First pause before something is asked for again; a block may not have come to the provider that was asked.
pub const FETCH_RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause.
pub const FETCH_RETRY_MAX: Duration = Duration::from_secs(2);

/// Wait for a provider's word on a subscription: a connection, a handshake and two answers, and as much again.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// First pause after a provider refused; the next one is another, so that it need not be long.
pub const SUBSCRIBE_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause: one subscription a second for all of a chain's providers together.
pub const SUBSCRIBE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How far apart a node's words on one block, its head and its logs, may come. A block whose head came this much before
/// the last word of a connection has had all its logs pushed.
pub const PUSH_SKEW_MAX: Duration = Duration::from_secs(2);

/// Pushed logs that wait for their block's head: a busy block's, several times over. With more the provider's pushes
/// are not relied on.
pub const LOGS_WAITING_MAX: usize = 8 * 1024;

/// Bytes of them.
pub const LOGS_WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Default and most of `websocket.calls_in_flight_max`: what a browser tab of a busy page asks at once; a batch's items are
/// bounded by themselves.
pub const WEBSOCKET_CALLS_DEFAULT: u64 = 64;
pub const WEBSOCKET_CALLS_MAX: u64 = 10_000;

/// Default and least of `websocket.queued_bytes_max`: 64 answers of [`WHOLE_BYTES_MAX`] fit; four must, since a piece of one
/// that streams may stand behind nearly as much that leaves, and other messages behind both.
pub const WEBSOCKET_QUEUED_BYTES_DEFAULT: u64 = 4 * 1024 * 1024;
pub const WEBSOCKET_QUEUED_BYTES_MIN: u64 = 4 * WHOLE_BYTES_MAX as u64;
const _: () = assert!(WEBSOCKET_QUEUED_BYTES_DEFAULT >= WEBSOCKET_CALLS_DEFAULT * WHOLE_BYTES_MAX as u64);

/// Default of `websocket.ping_after`, in ms: below the 60 s after which common balancers cut what is silent.
pub const WEBSOCKET_PING_AFTER_MS_DEFAULT: u64 = 30_000;

/// Default of `websocket.pong_timeout`, in ms: a mobile client's change of cell.
pub const WEBSOCKET_PONG_MS_DEFAULT: u64 = 15_000;

/// Time over which a closing node says goodbye to its WebSockets: their clients come back at once, and all of them in the same
/// millisecond are a storm to whoever takes them.
pub const WEBSOCKETS_LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// How long a client's close frame is waited for behind ours: a round trip to the other side of the world, several times.
pub const WEBSOCKET_GOODBYE: Duration = Duration::from_secs(3);

/// Words in a shard's inbox from the others: a busy block's notifications for hundreds of feeds, 200 KiB.
pub const MESH_WORDS_MAX: usize = 4 * 1024;

/// Words that a shard keeps for another whose inbox is full, and their bytes; then the feeds are ended there: by then it has
/// stood still for long.
pub const MESH_KEPT_WORDS_MAX: usize = 16 * 1024;
pub const MESH_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often a full inbox is tried again: a shard's turn takes far less, and its inbox is emptied in one.
pub const MESH_RETRY: Duration = Duration::from_millis(1);

/// Feeds that a shard follows and that it owns: each has its own upstream subscription, and providers allow some thousand.
pub const FEEDS_PER_SHARD_MAX: usize = 10_000;

/// How long a provider that failed to subscribe is passed over by the feed, where there is another.
pub const FEED_PASSES_OVER: Duration = Duration::from_secs(10);

/// How often a feed compares its newest block with the chain's: heads come at most every 100 ms.
pub const FEED_LOOK: Duration = Duration::from_millis(500);

/// Shortest silence of a provider that makes a feed look for another: timers and round trips of the fastest chains.
pub const FEED_STALE_MIN: Duration = Duration::from_secs(1);

/// Bytes of one answer that fills a gap: a block's logs under a busy filter, some times over.
pub const FILL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Default of `subscriptions.stale_blocks`: chains miss a slot now and then, two in a row hardly ever.
pub const STALE_BLOCKS_DEFAULT: u64 = 3;
pub const STALE_BLOCKS_MAX: u64 = 1000;

/// Default of `subscriptions.outage_max`, in ms: providers' restarts, and two tries at each of several.
pub const OUTAGE_MS_DEFAULT: u64 = 30_000;

/// Default of `subscriptions.linger`, in ms: a page that is loaded anew subscribes again within this.
pub const FEED_LINGER_MS_DEFAULT: u64 = 5_000;

// ---- The edge ----

/// Default of `websocket.connections_max`: a fifth of a shard's connections is left to HTTP.
pub const WEBSOCKETS_PER_SHARD_DEFAULT: u64 = 8_000;
const _: () = assert!(WEBSOCKETS_PER_SHARD_DEFAULT < CONNECTIONS_PER_SHARD_DEFAULT);

/// What `Retry-After` says beside it, in seconds: a balancer has other nodes, and a client that comes back at once finds the same.
pub const WEBSOCKET_RETRY_AFTER_S: u64 = 5;

/// Default of `websocket.subscriptions_max`: a page watches some contracts, an indexer a few dozen.
pub const WEBSOCKET_SUBSCRIPTIONS_DEFAULT: u64 = 128;
/// Most of it: each is a word in every block's round.
pub const WEBSOCKET_SUBSCRIPTIONS_MAX: u64 = 10_000;

/// Default of `websocket.compression_window_bits`: all of 32 KiB, since a shard has one for all its connections.
pub const WEBSOCKET_WINDOW_BITS_DEFAULT: u64 = 15;

/// Default of `websocket.compression_bytes_min`, and the least: a call's usual answer is below and fits a packet as it is; a
/// block or a page of logs is above.
pub const WEBSOCKET_COMPRESSED_BYTES_MIN_DEFAULT: u64 = 1024;
pub const WEBSOCKET_COMPRESSED_BYTES_MIN: u64 = 64;

/// Most of `listen.accepts_per_second`: more than a core can accept.
pub const ACCEPTS_PER_SECOND_MAX: u64 = 1_000_000;

/// Time whose share of `listen.accepts_per_second` may be taken in at once. A turn that takes it in stays short, and timers,
/// exact to the millisecond, lose nothing of the rate.
pub const ACCEPTS_BURST: Duration = Duration::from_millis(20);

// ---- Providers' WebSockets ----

/// Default of `upstream.subscriptions_per_connection`. Vendors allow some hundreds to a thousand on one connection; with a
/// hundred, a lost connection is a hundred streams to move at once, and one read serves many of them.
pub const UPSTREAM_SUBSCRIPTIONS_DEFAULT: u64 = 100;
/// Least of it: logs and the heads beside them.
pub const UPSTREAM_SUBSCRIPTIONS_MIN: u64 = 2;
/// Most of it: each takes some hundred bytes here, and no vendor allows more.
pub const UPSTREAM_SUBSCRIPTIONS_MAX: u64 = 10_000;

/// Default of `upstream.ping_after`, in ms: a block's time of Ethereum is some silence, so that a chain at work is not
/// pinged much, and a connection that died in silence is found out within twenty seconds.
pub const UPSTREAM_PING_AFTER_MS_DEFAULT: u64 = 15_000;

/// Default of `upstream.pong_timeout`, in ms: ten round trips to the other side of the world, a lost segment among them.
pub const UPSTREAM_PONG_MS_DEFAULT: u64 = 5_000;

/// WebSockets of one shard to one provider for subscriptions, and as many for calls. At the default of subscriptions on
/// each they are more streams than a shard can compare filters for.
pub const UPSTREAM_SOCKETS_MAX: usize = 32;

/// Calls in flight on one such connection: a large answer holds up those behind it, which is why the next ones go to another.
pub const UPSTREAM_SOCKET_CALLS_MAX: usize = 64;

/// Bytes that may wait to be sent on one of them; one call that is alone always fits.
pub const UPSTREAM_SOCKET_QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of one message of a provider, inflated: a block's header is under 10 KiB, but a call's answer over WebSocket comes
/// whole, and traces are large. Beyond 32 MiB vendors refuse, too.
pub const UPSTREAM_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of a subscription's id as a provider writes it: as a filter's.
pub const SUBSCRIPTION_ID_BYTES_MAX: usize = FILTER_ID_BYTES_MAX;

/// The first wait before another connection is tried, at most; doubles with each failure in a row. A fully drawn wait
/// spreads the shards of a fleet evenly over it.
pub const UPSTREAM_SOCKET_BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest such wait, at most: as long as nobody minds that a provider's WebSocket is not back yet.
pub const UPSTREAM_SOCKET_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long a connection without subscriptions and calls is kept for the next one: a client that reloads its page.
pub const UPSTREAM_SOCKET_GRACE: Duration = Duration::from_secs(5);

/// How long a provider's goodbye is waited for behind ours. Nothing depends on it.
pub const UPSTREAM_SOCKET_GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of the params of a subscription that is neither heads nor logs: they are kept as a feed's name and sent as they are,
/// on a connection that other feeds share and that a provider ends over what it finds too long. A vendor's list of a thousand
/// addresses fits, as it does in a filter of logs.
pub const SUBSCRIPTION_PARAMS_BYTES_MAX: usize = 128 * 1024;
// ---- Tenants ----

/// Bytes of the pepper under which keys are hashed: as much as the hash has.
pub const PEPPER_BYTES_MIN: usize = 32;
/// Longer is no safer, and likely a file that was meant to be read.
pub const PEPPER_BYTES_MAX: usize = 1024;

/// How long usage may be kept in one detail: a bill must be looked into on the next day, and nobody is asked for more than
/// ten years.
pub const USAGE_KEPT_MS_MIN: u64 = 24 * 3600 * 1000;
pub const USAGE_KEPT_MS_MAX: u64 = 3660 * 24 * 3600 * 1000;

/// Keys of a node. Each takes 41 bytes, so that these take 656 MiB: more than that is better spread over nodes.
pub const KEYS_MAX: usize = 16 * 1024 * 1024;
const _: () = assert!(KEYS_MAX <= u32::MAX as usize);

/// Keys changed since the map was built: 12 comparisons before each first look-up, and an hour of a busy shop. More of
/// them are worth building the map anew.
pub const KEYS_CHANGED_MAX: usize = 4096;

/// Rows of usage that one shard sums before control collects them: 500 keys with four methods on eight chains in a
/// second. 4 MiB; beyond, the second loses detail and not a call.
pub const USAGE_ROWS_PER_SHARD_MAX: usize = 16 * 1024;

/// Rows of usage that wait for the ledger: an hour of 1,000 busy keys with four rows a minute, 60 MiB. Beyond, detail
/// goes.
pub const USAGE_ROWS_MAX: usize = 256 * 1024;

/// Rows of one batch: 2 MiB to be kept and sent again until they are written.
pub const USAGE_BATCH_ROWS_MAX: usize = 16 * 1024;
const _: () = assert!(USAGE_BATCH_ROWS_MAX <= USAGE_ROWS_MAX && USAGE_ROWS_PER_SHARD_MAX <= USAGE_ROWS_MAX);

/// Keys in use at once in a node, or strangers' addresses, with words of their own: some 300 bytes each, 75 MiB. They
/// are forgotten a moment after their last call.
pub const ACTIVE_MAX: usize = 256 * 1024;

/// Months of strangers' addresses that are kept behind their words, at up to 80 bytes each: 80 MiB. Anybody may come by many
/// addresses; one that finds no room begins its month anew when it comes back.
pub const STRANGERS_MONTHS_MAX: usize = 4 * ACTIVE_MAX;

/// Parts of that table that are locked apart: more than a node has cores.
pub const ACTIVE_STRIPES: usize = 256;
const _: () = assert!(ACTIVE_MAX.is_multiple_of(ACTIVE_STRIPES));

/// Accounts of one shard: whoever was here within [`ACCOUNTS_SWEEP_EVERY`], at some 300 bytes each.
pub const ACCOUNTS_PER_SHARD_MAX: usize = ACTIVE_MAX;

/// How often a shard forgets accounts that nobody uses: a look at each of them, a millisecond for ten thousand.
pub const ACCOUNTS_SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Tables of usage on their way from one shard to control, which takes them several times a second.
pub const USAGE_IN_RING_MAX: usize = 4;

/// How long a shard that ends waits for control to take what was used last.
pub const USAGE_LAST: Duration = Duration::from_secs(5);

// ---- The ledger ----

/// Entries of one list of a plan or of a key's rules: an allow list of a customer's servers is not longer, and each call
/// is held against it.
pub const PLAN_LIST_MAX: usize = 256;

/// Bytes of one of them: an origin has at most a host name's 253 and a scheme.
pub const PLAN_WORD_BYTES_MAX: usize = 280;

/// Keys that are listed at once: a page of an API that nobody reads to its end.
pub const KEYS_LISTED_MAX: usize = 1000;

/// How long a node that starts waits for its ledger: a million keys are read in some seconds. Without, it would turn
/// everybody away.
pub const LEDGER_FIRST_WAIT: Duration = Duration::from_mins(1);

/// How often usage is handed to the ledger: what a crash can lose, and a commit to a disk each.
pub const USAGE_WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// How long a node that ends waits for its ledger to take what was used last.
pub const LEDGER_LAST: Duration = Duration::from_secs(20);

/// How long a transaction waits for another one of the same ledger: the longest one is a step of the upkeep, under a
/// second on a slow disk; far beyond it is a transaction whose owner is gone.
pub const LEDGER_BUSY_MAX: Duration = Duration::from_secs(8);

/// Between two looks where an engine does not wait by itself.
pub const LEDGER_BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Statements that a connection to the ledger keeps ready: more than the program has.
pub const LEDGER_STATEMENTS_MAX: usize = 128;

/// Bytes that the write-ahead log's file keeps when it is empty again; a batch is under 4 MiB of them.
pub const LEDGER_WAL_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// How long a database server may say nothing while it is asked something. A dead one is found out; one that sums a
/// year's usage is not taken for dead.
pub const LEDGER_SILENCE_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(LEDGER_BUSY_MAX.as_secs() < LEDGER_SILENCE_MAX.as_secs());

/// How long connecting to a database server may take where its address does not say.
pub const LEDGER_CONNECT_MAX: Duration = Duration::from_secs(5);

/// Bytes of a tenant's or a plan's name: it is typed on command lines.
pub const TENANT_NAME_BYTES_MAX: usize = 64;

/// Bytes of a key's label or a tenant's note.
pub const TENANT_TEXT_BYTES_MAX: usize = 256;

/// Bytes of a node's name in the ledger: as host names are.
pub const LEDGER_NODE_BYTES_MAX: usize = 255;

/// Lines of one report: eleven years of hours, and as many keys as anybody looks at.
pub const USAGE_LINES_MAX: usize = 100_000;

/// Days of units by key that are kept whatever else is forgotten: two months, as the running one is counted by them after a
/// start, on whichever day it began.
pub const LEDGER_KEY_DAYS_MIN: i64 = 62;

/// Rows that one step of the upkeep takes out, and tenants that it looks at: 0.2 s at most, which writing usage may have
/// to wait.
pub const LEDGER_UPKEEP_ROWS_MAX: usize = 10_000;
pub const LEDGER_UPKEEP_TENANTS_MAX: usize = 64;

/// Between two rounds of the upkeep.
pub const LEDGER_UPKEEP_EVERY: Duration = Duration::from_mins(10);

/// Boots of nodes whose last batch's number is kept; 70 bytes each. Only those are forgotten that have handed in
/// nothing since so many others did: a hundred nodes that restart daily take three years to come to that.
pub const LEDGER_BOOTS_MAX: i64 = 100_000;

/// How often the ledger is looked at for changes: a revoked key is out of every shard within a second, of which this is
/// a quarter.
pub const LEDGER_LOOK_EVERY: Duration = Duration::from_millis(250);

/// The first wait before a ledger that failed is tried again, at most; doubles with each failure in a row.
pub const LEDGER_BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait, at most: usage is only held meanwhile, but revocations are not heard of.
pub const LEDGER_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Times in a row that others are faster before anybody is told.
pub const LEDGER_BUSY_TROUBLE: u32 = 3;

/// Questions that wait for the ledger's thread, all of the admin API's; more are refused.
pub const LEDGER_QUESTIONS_MAX: usize = 64;

/// News that wait for control: it hears them at once, or does not hear anything.
pub const LEDGER_NEWS_MAX: usize = 8;

/// Orders that wait for the thread that writes the ledger: a batch, an end, and looks, of which one is as good as many.
pub const LEDGER_ORDERS_MAX: usize = 8;

/// How long the connection for questions is kept when nobody asks.
pub const LEDGER_ASKED_SPARE: Duration = Duration::from_mins(1);

/// How long questions are answered with the last failure to connect: a page that asks ten at once waits for one.
pub const LEDGER_ASKED_REST: Duration = Duration::from_secs(1);

// ---- Tokens ----

/// Bytes of a token (JWT): issuers' own are 1 to 2 KiB, and a head must hold it beside its other fields.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(TOKEN_BYTES_MAX <= HEAD_BYTES_MAX / 2);

/// Chains, or regions, that a token names: more are better a plan's.
pub const TOKEN_NAMES_MAX: usize = 64;

/// Bytes of a name in a token: a tenant's, a plan's, a chain's, a region's.
pub const TOKEN_NAME_BYTES_MAX: usize = 128;

/// Keys of an issuer's set: it has two or three, some more while it rotates them. Each token's is looked for one by one.
pub const TOKEN_KEYS_MAX: usize = 64;

/// Bytes of a set of keys, as a file or as an issuer answers: 64 RSA keys of 8192 bits with their certificates.
pub const TOKEN_KEY_SET_BYTES_MAX: usize = 512 * 1024;

/// Bytes of a secret that tokens are signed with: as much as the hash has (RFC 7518, 3.2).
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;

/// Good tokens that one shard remembers, whatever their connection: some 400 bytes each, 3 MiB. Beyond, one is verified
/// again, which takes tens of microseconds.
pub const TOKENS_REMEMBERED_MAX: usize = 8 * 1024;

/// How often control looks whether a key of tokens was missed, or is due to be read again: who shows the first token of a
/// new key waits for that and for the issuer's answer.
pub const TOKEN_LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often the file of keys is looked at: as soon as operators expect a change to be seen, and a file of some KiB.
pub const TOKEN_FILE_EVERY: Duration = Duration::from_secs(5);

/// Between two askings of an issuer because a key is missed: anybody may name keys that nobody has.
pub const TOKEN_REFRESH_SPACING: Duration = Duration::from_secs(30);

/// The first wait after an issuer did not answer; doubles with each failure in a row, to the regular refresh.
pub const TOKEN_RETRY_FIRST: Duration = Duration::from_secs(5);

/// For an issuer's whole answer, connecting included: nothing waits for it but the next try.
pub const TOKEN_FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start waits for an issuer's first answer; then the node serves, and tokens are refused until it comes.
pub const TOKEN_FIRST_WAIT: Duration = Duration::from_secs(5);

/// Bytes of an issuer, an audience or a claim's name in the config: most are URLs.
pub const TOKEN_TEXT_BYTES_MAX: usize = 256;

/// Issuers, or audiences, in the config: each token's are compared with all of them.
pub const TOKEN_TEXTS_MAX: usize = 16;

/// Bytes of a secret of HS256; longer ones are hashed and gain nothing.
pub const TOKEN_SECRET_BYTES_MAX: usize = 1024;
const _: () = assert!(TOKEN_SECRET_BYTES_MIN <= TOKEN_SECRET_BYTES_MAX);

/// Clocks that are kept are apart by less than a second; a minute forgives those that are looked after now and then.
pub const TOKEN_LEEWAY_MS_DEFAULT: u64 = 60_000;
/// More would make a short token a long one.
pub const TOKEN_LEEWAY_MS_MAX: u64 = 300_000;

/// Between two askings of an issuer: a new key is asked for at once, so that this is how long one that was taken back is
/// still believed.
pub const TOKEN_REFRESH_MS_DEFAULT: u64 = 600_000;
/// More often would be a burden for whom a whole fleet asks.
pub const TOKEN_REFRESH_MS_MIN: u64 = 60_000;
/// A day: an issuer that takes a key back wants it heard.
pub const TOKEN_REFRESH_MS_MAX: u64 = 86_400_000;

/// How long an issuer that does not answer is believed: over an outage of a day clients are served.
pub const TOKEN_KEEP_MS_DEFAULT: u64 = 86_400_000;
/// A month: an issuer that is gone for longer does not come back.
pub const TOKEN_KEEP_MS_MAX: u64 = 30 * 86_400_000;
const _: () = assert!(TOKEN_REFRESH_MS_DEFAULT <= TOKEN_KEEP_MS_DEFAULT && TOKEN_REFRESH_MS_MAX <= TOKEN_KEEP_MS_MAX);

// ---- A fleet's leases ----

/// How often control looks at the purses of all keys that are in use: a word or three each.
pub const LEASE_TICK: Duration = Duration::from_millis(25);

/// Between two asks of a node for a busy key, at most: so short that demand which moves from one node to another is
/// followed before anybody notices; some 20 asks a second for each busy key of each node.
pub const LEASE_EVERY: Duration = Duration::from_millis(50);

/// How long what was leased of a rate may be used, from when it was asked for. What ten seconds see is then granted in 10.1
/// of them: within a hundredth of what was sold.
pub const LEASE_LIFE: Duration = Duration::from_millis(100);
const _: () = assert!(LEASE_EVERY.as_millis() + LEASE_TICK.as_millis() < LEASE_LIFE.as_millis());

/// After that the store is taken to be gone: it answers within a millisecond or two where it is well.
pub const LEASE_LATE: Duration = Duration::from_millis(100);

/// Asks of one round. A round takes the store some 10 µs each: 2,000 keys keep a core of it busy for 20 ms.
pub const LEASES_PER_ROUND_MAX: usize = 2_000;

/// Asks that try whether the store is back.
pub const LEASES_TRIED: usize = 16;

/// The first wait before a store that is gone is tried again, at most; doubles with each failure in a row.
pub const LEASE_BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest such wait, at most: so long the fleet counts apart after the store is back.
pub const LEASE_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// For a round with the fleet's store, connecting included: far beyond what it takes where it is well, and not so long that
/// a dead connection is waited for.
pub const FLEET_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a node that ends waits for its fleet's store to take back what was leased: what it does not take is good for
/// nobody for a tenth of a second, and of months until the store forgets the node.
pub const FLEET_LAST: Duration = Duration::from_secs(2);

// ---- The door ----

/// Certificates of a node, one for each name or so; a look-up does not depend on their number, a reload reads them all.
pub const CERTIFICATES_MAX: usize = 256;

/// Certificates in one file: chains have two to four.
pub const CERTIFICATE_CHAIN_MAX: usize = 16;

/// Bytes of a file of certificates or keys; bundles of all the web's authorities have 200 KiB.
pub const CERTIFICATE_FILE_BYTES_MAX: usize = 1024 * 1024;

/// How often certificates' files are looked at. Those who renew them do so weeks ahead.
pub const CERTIFICATES_LOOK_EVERY: Duration = Duration::from_secs(5);

/// Default of `listen.handshake_timeout`, in ms: two round trips to the other side of the world with lost packets.
pub const HANDSHAKE_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Plain bytes that are encrypted at once: four records, sent together. A client that reads slowly holds no more of an
/// answer in encrypted form.
pub const TLS_SEND_BYTES_MAX: usize = 64 * 1024;

/// Plain bytes up to which records are decrypted ahead of a reader: one record, and what is left of another. rustls itself
/// refuses more than this and reads no further.
pub const TLS_PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Most of the limits per client address: a shard's connections are fewer.
pub const PER_ADDRESS_MAX: u64 = 1_000_000;

/// Networks in one list of balancers: each connection is compared with all of them.
pub const NETWORKS_MAX: usize = 64;

/// Client addresses that are counted at once: as many as connections of 16 shards at their default. 20 MiB.
pub const ADDRESSES_MAX: usize = 160 * 1024;

/// Parts of that table that are locked apart: more than a node has cores.
pub const ADDRESS_STRIPES: usize = 128;
const _: () = assert!(ADDRESSES_MAX.is_multiple_of(ADDRESS_STRIPES));

/// Refused connections that a shard sees off at once. Without that the kernel resets those whose client has sent
/// something already; beyond it, it does.
pub const DISMISSED_MAX: u32 = 256;

/// How long such a one may take to hear of it.
pub const DISMISSED_FOR: Duration = Duration::from_secs(1);

/// Bytes of a PROXY header. Version 1 has at most 107; version 2 has 16 and addresses, and what balancers say beside it,
/// a client's certificate at most. It is kept while it comes in.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Addresses of `X-Forwarded-For` that are looked at, from the right: more balancers than stand in a row anywhere.
pub const FORWARDED_HOPS_MAX: usize = 32;

// ---- The desk ----

/// Body of a request to the admin port about tenants, plans and keys: a plan with all of its lists full.
pub const DESK_BODY_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(DESK_BODY_BYTES_MAX >= 8 * PLAN_LIST_MAX * (PLAN_WORD_BYTES_MAX + 16));

// ---- The admin port's patience ----

/// From the start of a connection of the admin port, or a request's first byte, to the first byte of the answer: a handshake,
/// head and body over a line that loses packets, and all the time that an answer may take.
pub const ADMIN_REQUEST: Duration = Duration::from_secs(30);
const _: () = assert!(ADMIN_REQUEST.as_secs() >= 2 * ADMIN_TIMEOUT.as_secs());
const _: () = assert!(ADMIN_REQUEST.as_secs() <= ADMIN_IDLE.as_secs());

// ---- Subscriptions that lack something ----

/// Providers that are asked in turn whether they know a block of which one says that it has no logs. If none of them does
/// the block is asked for again after [`FETCH_RETRY_FIRST`] and more, and of others.
pub const FILL_PROVIDERS_MAX: usize = 3;

/// Feeds that a shard keeps for a while though no client wants them any more: two clients' at the default of their
/// subscriptions. Each has a subscription at a provider, of which there are few.
pub const FEEDS_LINGERING_MAX: usize = 256;
const _: () = assert!(FEEDS_LINGERING_MAX as u64 >= 2 * WEBSOCKET_SUBSCRIPTIONS_DEFAULT);
const _: () = assert!(FEEDS_LINGERING_MAX < FEEDS_PER_SHARD_MAX);

// ---- Clients that read slowly ----

/// Frames of one WebSocket that wait to be sent are put together up to this: many small answers leave in one send, and with
/// the last of them it is little more than [`WHOLE_BYTES_MAX`], so that a slow client is heard in between.
pub const WEBSOCKET_MERGED_BYTES_MAX: usize = WHOLE_BYTES_MAX / 2;

/// Bytes of an item's answer, beside its id, for which a batch has room whatever else it holds: the failure that would
/// take its place has more. A subscription that has begun is so always told.
pub const BATCH_SMALL_BYTES: usize = 64;

// ---- Strangers at the admin port ----

/// From the start of a connection of the admin port to its first request that is let through: two round trips of a handshake
/// and a head to the other side of the world, with lost packets. Whoever has no token holds a place no longer.
pub const ADMIN_STRANGER: Duration = Duration::from_secs(10);
const _: () = assert!(ADMIN_STRANGER.as_secs() <= ADMIN_REQUEST.as_secs());

/// For how long a provider's WebSocket may owe an answer while nothing at all comes, until a request that has had its time
/// takes the connection for dead: longer than most calls take, no longer than a subscription is waited for. Calls that run on
/// it are waited for.
pub const UPSTREAM_SOCKET_UNHEARD_MAX: Duration = Duration::from_secs(4);
const _: () = assert!(UPSTREAM_SOCKET_UNHEARD_MAX.as_millis() < SUBSCRIBE_TIMEOUT.as_millis());

/// Requests of one provider's WebSocket that nobody waits for and that are not answered: as many again as may wait.
pub const UPSTREAM_SOCKET_ABANDONED_MAX: usize = UPSTREAM_SOCKET_CALLS_MAX;

/// What large answers and batches that are there already may hold in all while they wait for one client to read them: one of
/// the largest that come from a provider's WebSocket, or many that are smaller.
pub const WEBSOCKET_KEPT_BYTES_MAX: usize = UPSTREAM_MESSAGE_BYTES_MAX;
