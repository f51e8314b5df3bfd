//! kcat: the metadata, and a file of 100,000 lines through each codec.

use crate::fleet::{Fleet, manifests};
use crate::tools::kcat;

const LINES: usize = 100_000;
const PARTITIONS: u32 = 6;

#[test]
fn kcat_lists_three_brokers() {
    let fleet = Fleet::start(&manifests(3, &[("listed", 2, 3)]));
    let listed = kcat(&["-b", fleet.bootstrap(), "-L"], b"").ok();
    assert!(listed.contains(" 3 brokers:"), "{listed}");
    for id in 0..3 {
        assert!(listed.contains(&format!("broker {id} at 127.0.0.1:")), "{listed}");
    }
    assert!(listed.contains("topic \"listed\" with 2 partitions:"), "{listed}");
}

#[test]
fn file_of_100_000_lines_comes_back_identical_with_every_codec() {
    let topics = [
        ("none", PARTITIONS, 3),
        ("gzip", PARTITIONS, 3),
        ("snappy", PARTITIONS, 3),
        ("lz4", PARTITIONS, 3),
        ("zstd", PARTITIONS, 3),
    ];
    let fleet = Fleet::start(&manifests(3, &topics));
    let file: String = (0..LINES)
        .map(|n| format!("{n:06} the quick brown fox jumps over the lazy dog\n"))
        .collect();
    for (codec, ..) in topics {
        fleet.leader(codec, i64::from(PARTITIONS) - 1);
        kcat(
            &[
                "-b",
                fleet.bootstrap(),
                "-P",
                "-t",
                codec,
                "-z",
                codec,
                "-X",
                "acks=all",
            ],
            file.as_bytes(),
        )
        .ok();
        let mut all: Vec<String> = Vec::with_capacity(LINES);
        for partition in 0..PARTITIONS {
            let partition = partition.to_string();
            let args = [
                "-b",
                fleet.bootstrap(),
                "-C",
                "-t",
                codec,
                "-p",
                &partition,
                "-o",
                "beginning",
                "-e",
                "-q",
                "-X",
                "check.crcs=true",
            ];
            let read = kcat(&args, b"").ok();
            let lines: Vec<String> = read.lines().map(str::to_owned).collect();
            assert!(
                lines.is_sorted(),
                "partition {partition} of {codec} is out of order"
            );
            all.extend(lines);
        }
        all.sort();
        let back: String = all.iter().map(|line| format!("{line}\n")).collect();
        assert!(back == file, "{codec}: {} lines came back of {LINES}", all.len());
    }
}
