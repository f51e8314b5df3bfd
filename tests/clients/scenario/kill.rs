//! `kill -9` of a leader while a library writes.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use super::expected::{self, Number};
use super::program::{About, Program, acknowledged};
use crate::fleet::{Fleet, signal};
use crate::kafka;

const TOPIC: &str = "killed";
const RECORDS: Number = 2_000;
/// So many are acknowledged before the kill.
const BEFORE: usize = 300;

/// What was acknowledged is there, and nothing that an idempotent producer wrote is there twice.
pub fn nothing_acknowledged_is_lost(writer: &mut Program, about: &About, fleet: &Fleet) -> Vec<String> {
    let leader = fleet.leader(TOPIC, 0);
    let command = format!("flood {TOPIC} {RECORDS}");
    writer.tell(&command);
    let mut told: Vec<String> = (0..BEFORE)
        .map(|_| writer.next(&command).expect("it goes on"))
        .collect();
    signal(fleet.pid_of(leader), Signal::KILL);
    told.extend(writer.rest(&command));

    let kept: BTreeSet<_> = told
        .iter()
        .filter_map(|line| acknowledged(line))
        .map(expected::key)
        .collect();
    let refused: Vec<_> = told.iter().filter(|line| acknowledged(line).is_none()).collect();
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for record in kafka::read_all(&kafka::config(fleet.bootstrap()), TOPIC) {
        *stored
            .entry(record.key.expect("every record has a key"))
            .or_default() += 1;
    }
    let lost: Vec<_> = kept.iter().filter(|key| !stored.contains_key(*key)).collect();
    let doubled: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    println!(
        "{} acknowledged, {} refused, {} stored, {} lost, {} doubled",
        kept.len(),
        refused.len(),
        stored.len(),
        lost.len(),
        doubled.len()
    );
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        refused.is_empty(),
        "a client that retries gets over the loss of a broker: {refused:?}"
    );
    if about.can("idempotence") {
        assert!(doubled.is_empty(), "doubled: {doubled:?}");
        vec!["kill -9 while it produces: nothing lost or doubled".to_owned()]
    } else {
        vec!["kill -9 while it produces: nothing lost".to_owned()]
    }
}
