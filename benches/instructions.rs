//! Instructions of the pure parts, counted by callgrind: `benches/check` compares them with the baseline.
//!
//! Each case runs a few times before it is counted once, so that buffers have grown and what is made on first use is there.
#![allow(unused_qualifications, reason = "made by macros")]

mod cases;
mod inputs;

use std::hint::black_box;

use cases::Case;
use gungraun::{library_benchmark, library_benchmark_group, main};

fn warm(make: fn() -> Case) -> Case {
    let mut case = make();
    (0..3).for_each(|_| case());
    case
}

#[library_benchmark(setup = warm)]
#[bench::request_path(cases::request_path)]
#[bench::request_path_unranked(cases::request_path_unranked)]
#[bench::adopt_of_3(cases::adopt_of_3)]
#[bench::request_head(cases::request_head)]
#[bench::target(cases::target)]
#[bench::parse_call(cases::parse_call)]
#[bench::parse_batch_of_20(cases::parse_batch_of_20)]
#[bench::pick_of_3(cases::pick_of_3)]
#[bench::pick_of_20(cases::pick_of_20)]
#[bench::gate_and_outcome(cases::gate_and_outcome)]
#[bench::write_upstream_head(cases::write_upstream_head)]
#[bench::reply_head(cases::reply_head)]
#[bench::chunked_64k(cases::chunked_64k)]
#[bench::inspect_small(cases::inspect_small)]
#[bench::inspect_64k(cases::inspect_64k)]
#[bench::classify_message(cases::classify_message)]
#[bench::block_facts(cases::block_facts)]
#[bench::said_head(cases::said_head)]
#[bench::write_answer_head(cases::write_answer_head)]
#[bench::tenant_call(cases::tenant_call)]
#[bench::tenant_call_exact(cases::tenant_call_exact)]
#[bench::key_first_look(cases::key_first_look)]
#[bench::key_in_a_million(cases::key_in_a_million)]
#[bench::nothing(cases::nothing)]
fn pure(mut case: Case) -> Case {
    black_box(&mut case)();
    case
}

library_benchmark_group!(name = all, benchmarks = pure);
main!(library_benchmark_groups = all);
