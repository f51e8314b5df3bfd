//! The scenarios, one for each row of targets and some more.

use super::{Load, Scenario, Tool, Work};
use crate::figure::Figure::{
    CpuCores, CpuPerGigabyte, CpuPerMillion, LatencyMax, LatencyP50, LatencyP99, LatencyP999,
    MegabytesPerSecond, OpenFiles, Read, RecordsPerSecond, Resident, ResidentPeak, SecondsToAll,
    SecondsToFirst, Slowdown, Written,
};
use crate::figure::Target::{self, Above, AtLeast, AtMost, Below};
use crate::figure::{held, shown};

const THOUSAND: Load = Load {
    record_size: 1_000,
    batch_size: 131_072,
    acks: "1",
    connections: 4,
    in_flight: 5,
    rate: None,
};

const HUNDRED: Load = Load {
    record_size: 100,
    batch_size: 65_536,
    ..THOUSAND
};

const REPLICATED: Load = Load {
    acks: "all",
    connections: 6,
    ..THOUSAND
};

const PACED: Load = Load {
    batch_size: 16_384,
    acks: "all",
    connections: 3,
    rate: Some(20_000),
    ..THOUSAND
};

const ONE: Scenario = Scenario {
    name: "",
    brokers: 1,
    partitions: 6,
    replicas: 1,
    tls: false,
    bounded: true,
    flush_policy: None,
    work: Work::Idle,
    seconds: 60,
    warmup_seconds: 15,
    rows: &[],
    note: "",
};

const THREE: Scenario = Scenario {
    brokers: 3,
    replicas: 3,
    ..ONE
};

const FIFTH: &[Target] = &[AtMost(1.0 / 5.0)];
const THIRD: &[Target] = &[AtMost(1.0 / 3.0)];

const TOOL_NOTE: &str =
    "a tool of Apache Kafka's on the generator's core, with its own start and warming up in the figures";

/// All of them.
pub const SCENARIOS: [Scenario; 20] = [
    Scenario {
        name: "produce-1000",
        work: Work::Produce(THOUSAND),
        rows: &[
            held(CpuPerGigabyte, THIRD),
            held(RecordsPerSecond, &[AtLeast(2.0)]),
            shown(MegabytesPerSecond),
            held(ResidentPeak, FIFTH),
            shown(Written),
        ],
        ..ONE
    },
    Scenario {
        name: "produce-100",
        work: Work::Produce(HUNDRED),
        rows: &[
            held(CpuPerMillion, &[AtMost(1.0 / 4.0)]),
            held(RecordsPerSecond, &[AtLeast(2.0), Above(1e6)]),
            held(ResidentPeak, FIFTH),
            shown(Written),
        ],
        ..ONE
    },
    Scenario {
        name: "consume-memory",
        bounded: false,
        seconds: 30,
        work: Work::Consume {
            connections: 4,
            records: 1_000_000,
            from_memory: true,
        },
        rows: &[
            held(CpuPerGigabyte, &[AtMost(1.0 / 2.0)]),
            shown(MegabytesPerSecond),
            held(ResidentPeak, FIFTH),
        ],
        note: "1 GB is read from its beginning to its end, again and again",
        ..ONE
    },
    Scenario {
        name: "consume-disk",
        bounded: false,
        work: Work::Consume {
            connections: 4,
            records: 4_000_000,
            from_memory: false,
        },
        rows: &[
            held(CpuPerGigabyte, &[AtMost(1.0)]),
            shown(MegabytesPerSecond),
            shown(Read),
        ],
        note: "4 GB are read once; before, the system was told to keep nothing of the logs in memory (posix_fadvise)",
        ..ONE
    },
    Scenario {
        name: "produce-1000-tls",
        tls: true,
        seconds: 30,
        work: Work::Produce(THOUSAND),
        rows: &[held(CpuPerGigabyte, THIRD), shown(MegabytesPerSecond)],
        ..ONE
    },
    Scenario {
        name: "produce-100-tls",
        tls: true,
        seconds: 30,
        work: Work::Produce(HUNDRED),
        rows: &[held(CpuPerMillion, THIRD), shown(RecordsPerSecond)],
        ..ONE
    },
    Scenario {
        name: "consume-memory-tls",
        tls: true,
        bounded: false,
        seconds: 30,
        work: Work::Consume {
            connections: 4,
            records: 1_000_000,
            from_memory: true,
        },
        rows: &[held(CpuPerGigabyte, THIRD), shown(MegabytesPerSecond)],
        note: "1 GB is read from its beginning to its end, again and again",
        ..ONE
    },
    Scenario {
        name: "replicated-page-cache",
        flush_policy: Some("os"),
        work: Work::Produce(REPLICATED),
        rows: &[
            held(RecordsPerSecond, &[AtLeast(2.0)]),
            shown(CpuPerGigabyte),
            held(ResidentPeak, FIFTH),
        ],
        note: "flush.policy=os on our side: what is acknowledged is in the page caches of all replicas, as Kafka has it",
        ..THREE
    },
    Scenario {
        name: "replicated-synced",
        work: Work::Produce(REPLICATED),
        rows: &[
            held(RecordsPerSecond, &[AtLeast(1.0)]),
            shown(CpuPerGigabyte),
            shown(Written),
        ],
        note: "ours is synced on all replicas before it is acknowledged, as is our default; Kafka's is in their page caches",
        ..THREE
    },
    Scenario {
        name: "latency",
        work: Work::Produce(PACED),
        rows: &[
            shown(LatencyP50),
            held(LatencyP99, &[AtMost(1.0 / 5.0), Below(10.0)]),
            held(LatencyP999, &[AtMost(1.0 / 5.0), Below(10.0)]),
            shown(LatencyMax),
            shown(CpuCores),
            held(ResidentPeak, FIFTH),
        ],
        note: "ours is synced on all replicas before it is acknowledged; counted from when a record was due, filling the batch included",
        ..THREE
    },
    Scenario {
        name: "latency-page-cache",
        flush_policy: Some("os"),
        work: Work::Produce(PACED),
        rows: &[
            shown(LatencyP50),
            held(LatencyP99, &[AtMost(1.0 / 5.0), Below(10.0)]),
            held(LatencyP999, &[AtMost(1.0 / 5.0), Below(10.0)]),
            shown(CpuCores),
        ],
        note: "flush.policy=os on our side, as Kafka has it",
        ..THREE
    },
    Scenario {
        name: "end-to-end",
        work: Work::EndToEnd(PACED),
        rows: &[
            shown(LatencyP50),
            held(LatencyP99, &[Below(10.0)]),
            shown(LatencyP999),
            shown(CpuCores),
        ],
        note: "until a consumer has the record; ours is synced on all replicas before a consumer may have it",
        ..THREE
    },
    Scenario {
        name: "idle",
        partitions: 0,
        seconds: 10,
        warmup_seconds: 20,
        rows: &[
            held(Resident, &[AtMost(1.0 / 12.0), Below(32.0)]),
            shown(CpuCores),
        ],
        note: "no topic, no client, after 20 s",
        ..ONE
    },
    Scenario {
        name: "first-record",
        partitions: 1,
        bounded: false,
        work: Work::FirstRecord,
        rows: &[held(SecondsToFirst, &[AtMost(1.0 / 10.0)])],
        note: "a new cluster, formatted before where that is a step of its own; the client creates the topic as soon as it is answered",
        ..ONE
    },
    Scenario {
        name: "restart-10000",
        partitions: 10_000,
        bounded: false,
        work: Work::Restart,
        rows: &[
            shown(SecondsToFirst),
            held(SecondsToAll, &[Below(3.0)]),
            shown(Resident),
        ],
        note: "after a clean stop, with a record in each partition; acks=1",
        ..ONE
    },
    Scenario {
        name: "create-10000",
        partitions: 10_000,
        bounded: false,
        work: Work::Create,
        rows: &[held(SecondsToAll, &[Below(10.0)]), shown(Resident)],
        note: "one topic; each partition has acknowledged a record with acks=all",
        ..THREE
    },
    Scenario {
        name: "many-partitions",
        partitions: 10_000,
        bounded: false,
        seconds: 20,
        warmup_seconds: 5,
        work: Work::Many(Load {
            batch_size: 16_384,
            ..THOUSAND
        }),
        rows: &[
            held(Resident, &[Below(250.0)]),
            held(OpenFiles, &[Below(20_000.0)]),
            held(Slowdown, &[Below(3.0)]),
            shown(RecordsPerSecond),
        ],
        note: "throughput over 100 partitions first, then over 10,000 on the same broker",
        ..ONE
    },
    Scenario {
        name: "java-produce",
        work: Work::Tool(Tool::Producer, 3_000_000),
        rows: &[shown(RecordsPerSecond), shown(CpuPerGigabyte), shown(LatencyP99)],
        note: TOOL_NOTE,
        ..ONE
    },
    Scenario {
        name: "java-consume",
        bounded: false,
        work: Work::Tool(Tool::Consumer, 2_000_000),
        rows: &[shown(RecordsPerSecond), shown(CpuPerGigabyte)],
        note: TOOL_NOTE,
        ..ONE
    },
    Scenario {
        name: "java-end-to-end",
        partitions: 1,
        bounded: false,
        work: Work::Tool(Tool::EndToEnd, 10_000),
        rows: &[shown(LatencyP50), shown(LatencyP99), shown(LatencyP999)],
        note: "one record at a time, acks=all; ours is synced on all replicas before a consumer may have it",
        ..THREE
    },
];
