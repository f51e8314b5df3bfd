//! The curves.

use super::Curve;
use crate::figure::Figure::{
    CpuCores, CpuPerGigabyte, CpuPerMillion, LatencyP50, LatencyP99, MegabytesPerSecond, OpenFiles,
    RecordsPerSecond, Resident, ResidentPeak,
};
use crate::scenario::{Load, Scenario, Work};

const LOAD: Load = Load {
    record_size: 1_000,
    batch_size: 16_384,
    acks: "1",
    connections: 4,
    in_flight: 5,
    rate: None,
};

const BASE: Scenario = Scenario {
    name: "scale",
    brokers: 1,
    partitions: 6,
    replicas: 1,
    tls: false,
    bounded: true,
    flush_policy: None,
    work: Work::Produce(LOAD),
    seconds: 8,
    warmup_seconds: 4,
    rows: &[],
    note: "",
};

/// A batch holds what a producer of Kafka's sends at once, or one record where that is larger.
const BATCH_BYTES: u32 = 131_072;
/// What a record takes in its batch besides its value, and the batch besides its records.
const AROUND_BYTES: u32 = 100;

/// All of them.
pub const CURVES: [Curve; 5] = [
    Curve {
        name: "partitions",
        axis: "partitions of one broker",
        points: &[1, 10, 100, 1_000, 10_000],
        base: Scenario {
            bounded: false,
            ..BASE
        },
        grow: |scenario, partitions| scenario.partitions = partitions as i32,
        figures: &[RecordsPerSecond, CpuPerGigabyte, Resident, OpenFiles],
        note: "",
    },
    Curve {
        name: "connections",
        axis: "connections",
        points: &[1, 10, 100, 1_000, 5_000],
        base: BASE,
        grow: |scenario, connections| {
            scenario.work = Work::Produce(Load {
                connections,
                in_flight: 1,
                ..LOAD
            });
        },
        figures: &[RecordsPerSecond, CpuPerGigabyte, LatencyP99, ResidentPeak],
        note: "one request in flight each, as fast as it goes: the latency is that of a queue",
    },
    Curve {
        name: "record-size",
        axis: "bytes of a record",
        points: &[10, 100, 1_000, 10_000, 100_000, 1_000_000],
        base: BASE,
        grow: |scenario, record_size| {
            scenario.work = Work::Produce(Load {
                record_size,
                batch_size: BATCH_BYTES.max(record_size + AROUND_BYTES),
                ..LOAD
            });
        },
        figures: &[
            RecordsPerSecond,
            MegabytesPerSecond,
            CpuPerMillion,
            CpuPerGigabyte,
        ],
        note: "",
    },
    Curve {
        name: "consumers",
        axis: "consumers that each read all of one topic",
        points: &[1, 10, 100, 1_000],
        base: Scenario {
            bounded: false,
            ..BASE
        },
        grow: |scenario, consumers| {
            scenario.work = Work::Consume {
                connections: 1,
                consumers,
                records: 200_000,
                from_memory: true,
            };
        },
        figures: &[MegabytesPerSecond, CpuPerGigabyte, ResidentPeak],
        note: "200 MB that are in the page cache; a connection for each consumer",
    },
    Curve {
        name: "brokers",
        axis: "brokers of one fleet, all on one core",
        points: &[3, 10, 30, 100],
        base: Scenario {
            partitions: 100,
            replicas: 3,
            ..BASE
        },
        grow: |scenario, brokers| {
            scenario.brokers = brokers as usize;
            scenario.work = Work::Produce(Load {
                acks: "all",
                connections: brokers,
                rate: Some(2_000),
                ..LOAD
            });
        },
        figures: &[CpuCores, LatencyP50, LatencyP99, Resident],
        note: "2 MB/s in all, synced on all replicas before it is acknowledged",
    },
];
