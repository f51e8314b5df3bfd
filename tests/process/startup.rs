//! A broker that cannot start says what is wrong and what to do, and touches no data.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::fleet::{Fleet, manifests};
use crate::kafka::{produce, read_all};

/// A stopped fleet of one, with a record in its log.
fn stopped_fleet() -> Fleet {
    let mut fleet = Fleet::start(&manifests(1, &[("kept", 1, 1)]));
    produce(
        fleet.bootstrap(),
        "kept",
        &[(None, "a record".to_owned())],
        "none",
    );
    assert!(fleet.stop().success());
    fleet
}

/// The configuration that `up` wrote for broker 0.
fn configuration(fleet: &Fleet) -> String {
    std::fs::read_to_string(fleet.data().join("brokers/0/broker.yaml")).expect("up wrote a configuration")
}

/// Runs the broker with a configuration that it must refuse, and gives what it said.
fn refused(directory: &Path, configuration: &str) -> String {
    let file = directory.join("refused.yaml");
    std::fs::write(&file, configuration).expect("write a configuration");
    let mut broker = Command::new(env!("CARGO_BIN_EXE_flotilla"))
        .args(["broker", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start a broker");
    let deadline = Instant::now() + Duration::from_secs(20);
    while broker.try_wait().expect("wait for the broker").is_none() {
        if Instant::now() >= deadline {
            broker.kill().expect("stop the broker");
            let said = broker.wait_with_output().expect("wait for the broker").stderr;
            panic!("the broker runs on; it said:\n{}", String::from_utf8_lossy(&said));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output { status, stderr, .. } = broker.wait_with_output().expect("wait for the broker");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Every file below a directory, with its size and when it was written.
fn files(directory: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let metadata = entry.metadata().expect("the file is there");
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(
                entry.path(),
                (metadata.len(), metadata.modified().expect("a time")),
            );
        }
    }
    found
}

#[test]
fn data_directory_of_another_cluster_or_broker_is_refused_and_left_alone() {
    let fleet = stopped_fleet();
    let configuration = configuration(&fleet);
    let data = fleet.data().join("brokers/0/data");
    let before = files(&data);
    assert!(before.len() > 3, "{before:?}");

    let cluster = configuration
        .lines()
        .find_map(|line| line.strip_prefix("clusterId: "))
        .expect("it has a cluster id");
    let other = cluster.trim_matches(['"', '\'']);
    let other_cluster = configuration.replace(other, "BBBBBBBBBBBBBBBBBBBBBA");
    let said = refused(&fleet.data(), &other_cluster);
    assert!(
        said.contains("cluster") && said.contains(other) && said.contains("BBBBBBBBBBBBBBBBBBBBBA"),
        "{said}"
    );
    assert!(said.contains(&data.display().to_string()), "{said}");

    let said = refused(
        &fleet.data(),
        &configuration.replace("brokerId: 0", "brokerId: 7"),
    );
    assert!(said.contains("broker 0") && said.contains('7'), "{said}");
    assert_eq!(files(&data), before, "no data is touched");
}

#[test]
fn data_directory_in_use_is_refused() {
    let fleet = Fleet::start(&manifests(1, &[]));
    let said = refused(&fleet.data(), &configuration(&fleet));
    assert!(
        said.contains("another process") || said.contains("in use"),
        "{said}"
    );
}

#[test]
fn directory_without_write_permission_is_refused_by_name() {
    let fleet = stopped_fleet();
    let configuration = configuration(&fleet);
    let data = fleet.data().join("brokers/0/data");
    // Not even root may create files here.
    let said = refused(
        &fleet.data(),
        &configuration.replace(&data.display().to_string(), "/proc/self/flotilla"),
    );
    assert!(said.contains("/proc/self/flotilla"), "{said}");
}

#[test]
fn port_that_is_taken_is_refused_by_number() {
    let fleet = stopped_fleet();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let bootstrap_port = fleet
        .bootstrap()
        .rsplit(':')
        .next()
        .expect("HOST:PORT")
        .to_owned();
    let said = refused(
        &fleet.data(),
        &configuration(&fleet).replace(&bootstrap_port, &port),
    );
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
}

#[test]
fn configuration_that_is_wrong_is_refused_by_file_and_line() {
    let fleet = stopped_fleet();
    let configuration = configuration(&fleet);
    let said = refused(&fleet.data(), &format!("{configuration}\nbrokerIdd: 1\n"));
    assert!(
        said.contains("refused.yaml:") && said.contains("brokerIdd"),
        "{said}"
    );
    let threads = configuration.replace("settings:\n", "settings:\n  num.io.threads: \"16\"\n");
    assert_ne!(threads, configuration, "it has settings");
    let said = refused(&fleet.data(), &threads);
    assert!(
        said.contains("refused.yaml")
            && said.contains(
                "`num.io.threads` cannot be `16`: listeners, requests and upkeep share one thread for each processor: there are no \
                 pools to size. Leave it out, or at Kafka's default `8`"
            ),
        "{said}"
    );
    let said = refused(&fleet.data(), "clusterId: nonsense\n");
    assert!(said.contains("refused.yaml"), "{said}");
}

#[test]
fn idle_broker_stays_small() {
    let fleet = Fleet::start(&manifests(3, &[("quiet", 6, 3)]));
    fleet.leader("quiet", 5);
    // Of a debug build the code alone is larger than all that users run: there only what the broker allocates counts.
    let field = if cfg!(debug_assertions) {
        "RssAnon:"
    } else {
        "VmRSS:"
    };
    for id in 0..3 {
        let pid = fleet.broker_pid(id);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the broker runs");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("the kernel says so");
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        println!("broker {id}: {kib} KiB resident");
        assert!(kib < 32 * 1024, "broker {id} has {kib} KiB resident");
    }
}

/// The fleet runs in a mount namespace of its own, on a file system of 96 MiB that ends with it.
#[test]
fn full_disk_refuses_writes_serves_reads_and_keeps_what_was_acknowledged() {
    let mut files = manifests(1, &[]);
    files.insert(
        "topic-filling.yaml".into(),
        crate::fleet::topic("filling", 1, 1, "segment.bytes: 8388608"),
    );
    let mut fleet = Fleet::prepare(&files);
    fleet.up_on_small_disk(96);
    let bootstrap = fleet.bootstrap().to_owned();
    let value = "x".repeat(100_000);
    let mut acknowledged = 0;
    let refused = loop {
        let records: Vec<(Option<&str>, String)> = (0..20).map(|_| (None, value.clone())).collect();
        let stored = crate::kafka::try_produce(&bootstrap, "filling", &records);
        acknowledged += stored.len();
        if stored.len() < records.len() {
            break records.len() - stored.len();
        }
        assert!(acknowledged < 2_000, "200 MB went onto a disk of 96");
    };
    println!("{acknowledged} records acknowledged, then {refused} refused");
    let log = fleet.broker_log(0);
    assert!(
        log.contains("the volume is full") && log.contains("shorten retention"),
        "{log}"
    );
    assert!(acknowledged > 100, "{acknowledged}");
    let read = read_all(&crate::kafka::config(&bootstrap), "filling");
    assert!(
        read.len() >= acknowledged,
        "{} of {acknowledged} read",
        read.len()
    );
    assert!(
        crate::kafka::try_produce(&bootstrap, "filling", &[(None, value)]).is_empty(),
        "it is still full"
    );
}
