//! Time of the pure parts: `cargo bench --bench pure`, or with a name's part behind it.
//!
//! Times differ between machines and hours; what a change did to the work itself shows in `instructions`, and what a
//! request costs in all in `perf/`.

mod cases;
mod inputs;

use cases::Case;
use criterion::{Criterion, criterion_group, criterion_main};

type Named = (&'static str, fn() -> Case);

const CASES: [Named; 25] = [
    ("request_path", cases::request_path),
    ("request_path_unranked", cases::request_path_unranked),
    ("adopt_of_3", cases::adopt_of_3),
    ("request_head", cases::request_head),
    ("target", cases::target),
    ("parse_call", cases::parse_call),
    ("parse_batch_of_20", cases::parse_batch_of_20),
    ("pick_of_3", cases::pick_of_3),
    ("pick_of_20", cases::pick_of_20),
    ("gate_and_outcome", cases::gate_and_outcome),
    ("write_upstream_head", cases::write_upstream_head),
    ("reply_head", cases::reply_head),
    ("chunked_64k", cases::chunked_64k),
    ("inspect_small", cases::inspect_small),
    ("inspect_64k", cases::inspect_64k),
    ("classify_message", cases::classify_message),
    ("block_facts", cases::block_facts),
    ("said_head", cases::said_head),
    ("write_answer_head", cases::write_answer_head),
    ("tenant_call", cases::tenant_call),
    ("tenant_call_exact", cases::tenant_call_exact),
    ("key_first_look", cases::key_first_look),
    ("key_in_a_million", cases::key_in_a_million),
    ("build_of_a_million_keys", cases::build_of_a_million_keys),
    ("nothing", cases::nothing),
];

fn all(criterion: &mut Criterion) {
    for (name, make) in CASES {
        let mut case = make();
        criterion.bench_function(name, |bencher| bencher.iter(&mut case));
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
