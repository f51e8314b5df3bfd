//! The laws of `ARCHITECTURE.md` about crates and pure rooms, held against the sources.

#![allow(missing_docs, clippy::unwrap_used)]

mod mutations;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms that import no runtime, no file system, no clock, no randomness, and no room that is not pure.
const PURE_ROOMS: [&str; 17] = [
    "broker/src/client_metrics",
    "broker/src/fetch_session",
    "broker/src/partition",
    "broker/src/pattern.rs",
    "broker/src/quota",
    "broker/src/metadata",
    "broker/src/group",
    "broker/src/transaction",
    "broker/src/share",
    "broker/src/auth",
    "control/src/placement",
    "control/src/placement.rs",
    "operator/src/cluster",
    "operator/src/topic",
    "operator/src/user",
    "protocol/src/records",
    "protocol/src/messages",
];

/// What a pure room never says, and why.
const FORBIDDEN: [(&str, &str); 18] = [
    ("tokio", "no runtime"),
    ("std::fs", "no file system"),
    ("TcpStream", "no network"),
    ("TcpListener", "no network"),
    ("UdpSocket", "no network"),
    ("std::thread", "no threads"),
    ("std::process", "no processes"),
    ("std::env", "no environment"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("HashMap", "no map of random order"),
    ("HashSet", "no map of random order"),
    ("SystemRandom", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("new_v4", "randomness is an argument"),
    ("rand::", "randomness is an argument"),
    ("parking_lot", "no locks"),
    ("arc_swap", "no shared state"),
];

/// The rooms of the broker that are not pure: a pure one never imports them.
const IMPURE_ROOMS: [&str; 12] = [
    "broker",
    "clock",
    "coordination",
    "coordinator_runtime",
    "courier",
    "log",
    "net",
    "replica",
    "request",
    "share_runtime",
    "telemetry",
    "tls",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust sources below a directory, or the one file.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .flat_map(|entry| sources(&entry.path()))
        .collect();
    found.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    found
}

/// Our own crates that a package depends on, tests and builds included.
fn own_dependencies(package: &str) -> BTreeSet<String> {
    read(&root().join(package).join("Cargo.toml"))
        .lines()
        .filter_map(|line| line.strip_prefix("flotilla-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn crates_depend_on_each_other_only_as_the_first_law_says() {
    assert_eq!(own_dependencies("protocol"), set(&[]));
    assert_eq!(own_dependencies("crds"), set(&[]));
    assert_eq!(own_dependencies("control"), set(&["protocol"]));
    assert_eq!(own_dependencies("broker"), set(&["control", "protocol"]));
    assert_eq!(own_dependencies("operator"), set(&["control", "crds"]));
}

#[test]
fn broker_never_sees_kube_and_operator_never_parses_the_wire() {
    for (package, never) in [
        ("broker", ["kube", "k8s_openapi"]),
        ("operator", ["flotilla_protocol", "kafka_protocol"]),
    ] {
        for file in sources(&root().join(package)) {
            let text = read(&file);
            for word in never {
                assert!(
                    !text.contains(&format!("{word}::")),
                    "{} names {word}",
                    file.display()
                );
            }
        }
    }
}

/// The code of a file without its tests and comments: both may say what the code must not.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..tests]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn pure_rooms_reach_nothing_outside_themselves() {
    let mut looked_at = 0;
    let mut broken = Vec::new();
    for room in PURE_ROOMS {
        for file in sources(&root().join(room)) {
            if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
                continue;
            }
            looked_at += 1;
            let code = code(&read(&file));
            for (word, law) in FORBIDDEN {
                if code.contains(word) {
                    broken.push(format!("{} says `{word}`: {law}", file.display()));
                }
            }
            for other in IMPURE_ROOMS {
                if code.contains(&format!("crate::{other}::")) && room.starts_with("broker") {
                    broken.push(format!(
                        "{} imports the room `{other}`, which is not pure",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(
        looked_at > 20,
        "only {looked_at} files looked at: did the rooms move?"
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_one_file_writes_to_kubernetes_and_only_one_room_speaks_to_brokers() {
    let operator = root().join("operator/src");
    for (words, allowed) in [
        (
            &["PatchParams", "PostParams", "DeleteParams", "Patch::"][..],
            "apply.rs",
        ),
        (&["FleetClient", "fleet_client"][..], "fleet"),
    ] {
        let may = operator.join(allowed);
        assert!(may.exists(), "{} moved", may.display());
        for file in sources(&operator) {
            let code = code(&read(&file));
            for word in words {
                assert!(
                    file.starts_with(&may) || !code.contains(word),
                    "{} says `{word}`, which belongs into {allowed}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn table_of_what_works_names_tests_that_exist() {
    let readme = read(&root().join("README.md"));
    let table = readme
        .split("<!-- works -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- /works -->").next());
    let rows: Vec<&str> = table
        .expect("the table is marked")
        .lines()
        .skip(3)
        .filter(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 5, "{} rows", rows.len());
    let tests: String = sources(&root().join("tests"))
        .iter()
        .map(|file| read(file))
        .collect();
    for row in rows {
        let proofs: Vec<&str> = row
            .split('|')
            .nth(2)
            .expect("two columns")
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        assert!(!proofs.is_empty(), "no test proves: {row}");
        for proof in proofs {
            assert!(
                tests.contains(&format!("fn {proof}()")),
                "there is no test {proof}"
            );
        }
    }
}
