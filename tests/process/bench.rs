//! `flotilla bench` against real brokers: what it says of a load is what the brokers have.

use std::process::{Command, Output};

use serde_json::Value;

use crate::fleet::{Fleet, manifests};
use crate::kafka::{self, read_all};
use crate::security::{manifests_with, password};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flotilla"))
        .arg("bench")
        .args(arguments)
        .output()
        .expect("flotilla bench")
}

/// Runs a load that must come to its end, and gives what it wrote as JSON and as SVG.
fn measured(arguments: &[&str]) -> (Value, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (json, svg) = (
        directory.path().join("run.json"),
        directory.path().join("run.svg"),
    );
    let files = ["--json", json.to_str().unwrap(), "--svg", svg.to_str().unwrap()];
    let output = bench(&[arguments, &files].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let json = std::fs::read_to_string(json).expect("the figures");
    let svg = std::fs::read_to_string(svg).expect("the picture");
    (serde_json::from_str(&json).expect("JSON"), svg)
}

fn number(of: &Value, path: &str) -> f64 {
    of.pointer(path)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no {path} in {of}"))
}

#[test]
fn bench_measures_what_brokers_store_and_give_back() {
    let fleet = Fleet::start(&manifests(3, &[]));
    let bootstrap = fleet.bootstrap();
    let to = ["--bootstrap-server", bootstrap, "--topic", "load"];
    let written = [
        &["produce"][..],
        &to,
        &[
            "--partitions",
            "4",
            "--replication-factor",
            "3",
            "--records",
            "20000",
        ],
        &[
            "--record-size",
            "100",
            "--compression",
            "lz4",
            "--connections",
            "4",
            "--warmup",
            "0s",
        ],
    ]
    .concat();
    let (figures, svg) = measured(&written);
    let records = number(&figures, "/results/written/records");
    assert!(records >= 20_000.0, "{figures}");
    assert_eq!(number(&figures, "/partitions"), 4.0);
    assert!(number(&figures, "/results/written/latency_ms/p99") > 0.0);
    assert!(svg.contains("Latency by percentile"));
    // What came after measuring ended is there too, and nothing else.
    let stored = read_all(&kafka::config(bootstrap), "load").len() as f64;
    assert!(
        (records..records + 5.0 * 4.0 * 200.0).contains(&stored),
        "{stored} stored, {records} acknowledged while it was measured"
    );
    // Twice around.
    let twice = (2.0 * stored).to_string();
    let read = [&["consume"][..], &to, &["--records", &twice, "--warmup", "0s"]].concat();
    let (figures, _) = measured(&read);
    assert!(
        number(&figures, "/results/read/records") >= 2.0 * stored,
        "{figures}"
    );
}

#[test]
fn bench_counts_latency_from_when_a_record_was_due() {
    let fleet = Fleet::start(&manifests(1, &[]));
    let paced = [
        "end-to-end",
        "--bootstrap-server",
        fleet.bootstrap(),
        "--rate",
        "500",
        "--duration",
        "4s",
        "--warmup",
        "1s",
        "--linger",
        "20ms",
        "--consumers",
        "2",
    ];
    let (figures, _) = measured(&paced);
    // A batch waits for 20 ms, so that records wait for 10 ms on the average, besides what brokers take.
    assert!(
        number(&figures, "/results/written/latency_ms/mean") >= 9.0,
        "{figures}"
    );
    assert!(
        number(&figures, "/results/read/latency_ms/p99") >= 18.0,
        "{figures}"
    );
    let written = number(&figures, "/results/written/records_per_second");
    assert!((400.0..600.0).contains(&written), "{figures}");
    let read = number(&figures, "/results/read/records");
    let written = number(&figures, "/results/written/records");
    assert!(
        (1.8..2.2).contains(&(read / written)),
        "two consumers read everything: {figures}"
    );
}

#[test]
fn bench_gets_in_with_the_client_properties_of_a_user() {
    let fleet = Fleet::start(&manifests_with(true));
    password(&fleet);
    let properties = fleet.data().join("users/app/client.properties");
    let properties = properties.to_str().unwrap();
    let to = [
        "--bootstrap-server",
        fleet.bootstrap(),
        "--command-config",
        properties,
    ];
    let load = ["--records", "100", "--warmup", "0s"];
    let (figures, _) = measured(&[&["produce", "--topic", "open"][..], &to, &load].concat());
    assert!(number(&figures, "/results/written/records") >= 100.0);

    let refused = |arguments: &[&str]| {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let closed = refused(&[&["produce", "--topic", "closed"][..], &to, &load].concat());
    assert!(closed.contains("TopicAuthorizationFailed"), "{closed}");
    let plain = refused(&["produce", "--bootstrap-server", fleet.bootstrap()]);
    assert!(
        plain.contains("the broker speaks TLS; say so with security.protocol=SSL"),
        "{plain}"
    );
}

#[test]
fn bench_says_what_is_wrong() {
    let failed = |arguments: &[&str], code: i32| {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nobody = failed(&["produce", "--bootstrap-server", "127.0.0.1:1"], 1);
    assert!(nobody.contains("broker 127.0.0.1:1: cannot connect"), "{nobody}");
    let rate = failed(&["produce", "--rate", "fast"], 2);
    assert!(rate.contains("`fast` is no rate"), "{rate}");
    let both = failed(&["produce", "--records", "1", "--duration", "1s"], 2);
    assert!(both.contains("cannot be used with"), "{both}");
    let file = failed(&["consume", "--command-config", "/nonexistent/file"], 1);
    assert!(file.contains("cannot read /nonexistent/file"), "{file}");

    let fleet = Fleet::start(&manifests(1, &[("empty", 1, 1)]));
    let to = ["--bootstrap-server", fleet.bootstrap()];
    let missing = failed(&[&["consume", "--topic", "nothing"][..], &to].concat(), 1);
    assert!(
        missing.contains("topic `nothing` does not exist; write to it first"),
        "{missing}"
    );
    let empty = failed(&[&["consume", "--topic", "empty"][..], &to].concat(), 1);
    assert!(
        empty.contains("there is nothing to read in topic `empty`"),
        "{empty}"
    );
}
