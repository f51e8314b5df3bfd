//! Bad input on the wire: a clear error or a closed connection, never a panic, never unbounded memory, and everyone else is
//! served meanwhile.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_protocol::messages::{ApiVersionsRequest, ProduceRequest, produce_request};
use flotilla_protocol::{ErrorCode, Records, Str};

use crate::fleet::{Fleet, manifests};
use crate::raw::{Connection, assert_served, socket};

/// The broker may use so much for all that a test throws at it.
const RESIDENT_KIB_MAX: u64 = 128 * 1024;

fn fleet() -> Fleet {
    let fleet = Fleet::start(&manifests(1, &[("wire", 1, 1)]));
    fleet.leader("wire", 0);
    fleet
}

/// The broker lives, has not grown, and never panicked.
fn check(fleet: &Fleet, pid: u32) {
    assert_served(fleet.bootstrap());
    assert_eq!(fleet.broker_pid(0), pid, "the broker is the one that it was");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the broker runs");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a process has VmRSS");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < RESIDENT_KIB_MAX, "{kib} KiB resident");
    let log = fleet.broker_log(0);
    assert!(!log.contains("panicked"), "{log}");
}

/// Sends bytes and waits for the end of the connection; gives what came before it.
fn closes_after(bootstrap: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = socket(bootstrap);
    // The broker may close before it has read everything.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection is still open: {error}"),
    }
    answer
}

/// A frame with its length before it.
fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

/// A request's header (version 1, no client id) and what follows.
fn request(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    framed(
        &[
            &api_key.to_be_bytes()[..],
            &version.to_be_bytes(),
            &7_i32.to_be_bytes(),
            &(-1_i16).to_be_bytes(),
            body,
        ]
        .concat(),
    )
}

#[test]
fn garbage_and_wrong_lengths_close_the_connection_and_nothing_else() {
    let fleet = fleet();
    let pid = fleet.broker_pid(0);
    let noise: Vec<u8> = (0..4_096_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80)
        .collect();
    let array_of_two_thousand_million = request(3, 1, &2_000_000_000_i32.to_be_bytes());
    for (what, bytes) in [
        ("garbage", noise),
        (
            "a frame of 2 GiB",
            [&i32::MAX.to_be_bytes()[..], &[0; 64]].concat(),
        ),
        ("a negative length", (-5_i32).to_be_bytes().to_vec()),
        ("an empty frame", framed(&[])),
        ("a truncated request", request(3, 1, &[0, 0, 0, 9, 0])),
        ("an array of two thousand million", array_of_two_thousand_million),
        ("an unknown API", request(9_999, 0, &[])),
        (
            "an HTTP request",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
    ] {
        let answer = closes_after(fleet.bootstrap(), &bytes);
        assert!(answer.is_empty(), "{what} was answered with {answer:?}");
        check(&fleet, pid);
    }
}

#[test]
fn unknown_version_of_api_versions_is_answered_with_the_range() {
    let fleet = fleet();
    let mut socket = socket(fleet.bootstrap());
    socket.write_all(&request(18, 99, &[0])).expect("send");
    let mut head = [0; 10];
    socket.read_exact(&mut head).expect("an answer");
    assert_eq!(head[4..8], 7_i32.to_be_bytes());
    assert_eq!(
        i16::from_be_bytes([head[8], head[9]]),
        ErrorCode::UnsupportedVersion.code()
    );
}

#[test]
fn batch_with_a_wrong_crc_is_refused_and_not_stored() {
    let fleet = fleet();
    let mut builder = flotilla_protocol::records::BatchBuilder::new(flotilla_protocol::Offset(0));
    builder.push(1_700_000_000_000, None, Some(b"intact"), &[]);
    let mut batch = builder.build().to_vec();
    let last = batch.len() - 1;
    batch[last] ^= 1;
    let partition = produce_request::PartitionProduceData {
        index: 0,
        records: Some(Records::from(Bytes::from(batch))),
    };
    let topic = produce_request::TopicProduceData {
        name: Str::from_static("wire"),
        partition_data: vec![partition],
        ..Default::default()
    };
    let produce = ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let mut connection = Connection::open(fleet.bootstrap());
    let answer = connection.call(9, &produce).expect("an answer");
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        ErrorCode::CorruptMessage
    );
    assert!(crate::kafka::read_all(&crate::kafka::config(fleet.bootstrap()), "wire").is_empty());
}

#[test]
fn five_thousand_idle_connections_cost_little_and_others_are_served() {
    let fleet = fleet();
    let pid = fleet.broker_pid(0);
    let idle: Vec<_> = (0..5_000).map(|_| socket(fleet.bootstrap())).collect();
    let started = Instant::now();
    check(&fleet, pid);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "others waited {:?}",
        started.elapsed()
    );
    let versions = ApiVersionsRequest {
        client_software_name: Str::from_static("raw"),
        client_software_version: Str::from_static("1"),
    };
    assert_eq!(
        Connection::open(fleet.bootstrap())
            .call(3, &versions)
            .expect("served")
            .error_code,
        ErrorCode::None
    );
    drop(idle);
    check(&fleet, pid);
}
