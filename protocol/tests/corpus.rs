//! Replays what the fuzzers have found worth keeping: `protocol/fuzz/corpus`, one directory a target.

use std::fs;
use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

/// A corpus that has grown beyond this is to be minimized before it is committed.
const INPUTS_MAX: usize = 500;
const INPUT_BYTES_MAX: usize = 64 * 1024;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.expect("readable").path())
        .collect();
    inputs.sort();
    assert!(
        (1..=INPUTS_MAX).contains(&inputs.len()),
        "{} inputs in {target}",
        inputs.len()
    );
    for input in inputs {
        let data = fs::read(&input).expect("readable");
        assert!(data.len() <= INPUT_BYTES_MAX, "{} is too large", input.display());
        // Every prefix of a short one, too: a connection can end anywhere.
        for end in (0..data.len().min(64)).chain([data.len()]) {
            run(&data[..end]);
        }
    }
}

#[test]
fn frames_of_the_corpus_are_read_or_refused() {
    replay("frame", targets::frame);
}

#[test]
fn requests_of_the_corpus_are_read_or_refused() {
    replay("request", targets::request);
}

#[test]
fn record_batches_of_the_corpus_are_read_or_refused() {
    replay("record_batch", targets::record_batch);
}
