//! What we write is what the crate `kafka-protocol` writes, and what it writes we read.

use std::collections::BTreeSet;

use bytes::Bytes;
use flotilla_protocol::messages::FetchResponse;
use flotilla_protocol::messages::fetch_response::LeaderIdAndEpoch;
use flotilla_protocol::{Message as _, Reader};

use crate::cases::all;
use crate::sample::{Random, sample};

/// For each message and each of its versions.
const SAMPLES: u64 = 2;

#[test]
fn every_message_reads_back_in_every_version_and_agrees_with_the_second_opinion() {
    let mut alone = BTreeSet::new();
    for case in all() {
        for version in case.versions.clone() {
            for seed in 0..SAMPLES {
                let bytes = sample(&case, version, &mut Random::new(seed * 1000 + 7));
                let context = format!("{} {version} from {bytes:?}", case.name);
                let ours = (case.rewrite)(bytes, version).expect("read before");
                assert_eq!(
                    (case.rewrite)(ours.clone(), version).as_ref(),
                    Ok(&ours),
                    "{context}"
                );
                match &case.theirs {
                    Some(theirs) if theirs.versions.contains(&version) => {
                        assert_eq!((theirs.rewrite)(ours.clone(), version), ours, "{context}");
                    }
                    _ => {
                        alone.insert(format!("{} {version}", case.name));
                    }
                }
            }
        }
    }
    // The second opinion stands at Kafka 4.1: what it does not know, `golden.txt` does.
    let golden: BTreeSet<String> = golden()
        .map(|(name, version, _)| format!("{name} {version}"))
        .collect();
    assert_eq!(alone, golden);
}

/// Lines of name, version and bytes, which kafka-clients 4.3.1 wrote.
fn golden() -> impl Iterator<Item = (&'static str, i16, Bytes)> {
    include_str!("golden.txt").lines().map(|line| {
        let (name, rest) = line.split_once(' ').expect("a name");
        let (version, hex) = rest.split_once(' ').expect("a version");
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        let bytes = (0..hex.len()).step_by(2).map(digit).collect();
        (name, version.parse().expect("a number"), bytes)
    })
}

#[test]
fn what_kafka_wrote_is_what_we_write() {
    let cases = all();
    for (name, version, bytes) in golden() {
        let case = cases
            .iter()
            .find(|case| case.name == name)
            .expect("a message of ours");
        assert_eq!(
            (case.rewrite)(bytes.clone(), version),
            Ok(bytes),
            "{name} {version}"
        );
    }
}

#[test]
fn samples_reach_arrays_and_tagged_fields() {
    let cases = all();
    let case = cases
        .iter()
        .find(|case| case.name == "FetchResponse")
        .expect("a message of ours");
    let (mut aborted, mut endpoints, mut leaders) = (0, 0, 0);
    for seed in 0..60 {
        let bytes = sample(case, 16, &mut Random::new(seed));
        let message = FetchResponse::decode(&mut Reader::new(bytes), 16).expect("read before");
        endpoints += message.node_endpoints.len();
        for partition in message.responses.iter().flat_map(|topic| &topic.partitions) {
            aborted += partition.aborted_transactions.iter().flatten().count();
            leaders += usize::from(partition.current_leader != LeaderIdAndEpoch::default());
        }
    }
    assert!(
        aborted > 5 && endpoints > 0 && leaders > 0,
        "{aborted} {endpoints} {leaders}"
    );
}
