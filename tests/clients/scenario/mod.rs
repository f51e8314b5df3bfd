//! One scenario for every client library: what an application does with Kafka, and a broker that dies under it.
//!
//! Each library has a program under `tests/clients/programs` that does, in the library's own way, what it is told line by line; what came
//! of it is judged here, mostly by another client (librdkafka) and by the files of the brokers.

mod alone;
mod codec;
mod deletion;
mod expected;
mod fleet;
mod group;
mod kill;
mod libraries;
mod program;

use crate::fleet::Fleet;
use crate::kafka;
use crate::table::Table;
use expected::{Number, Record};
use libraries::Library;
use program::Program;

/// Records that each step writes.
const RECORDS: Number = 300;

/// The README's table of client libraries: a row is there only if its library ran the scenario to the end.
const TABLE: Table = Table {
    name: "clients",
    of: "client",
    recipe: "just clients-table",
};

/// All that a library can do, and its row in the README.
fn run(library: &Library) {
    TABLE.withdraw(library.name);
    let fleet = fleet::start();
    let access = program::Access::plain(fleet.bootstrap());
    let mut writer = Program::start(library, &access);
    let mut reader = Program::start(library, &access);
    let about = writer.about();
    let mut ran = topics(&mut writer, &about, &fleet);
    ran.extend(codecs(&mut writer, &about, &fleet));
    ran.extend(if about.can("groups") {
        group::shared_and_resumed(&mut writer, &mut reader, &about, &fleet)
    } else {
        alone::read_by_one(&mut writer, &mut reader, &about)
    });
    ran.extend(offsets(&mut reader, &about, &fleet));
    ran.extend(transactions(&mut writer, &mut reader, &about, &fleet));
    ran.extend(secure(library, &fleet));
    ran.extend(deletion::taken_away(&mut writer, &about, &fleet));
    ran.extend(kill::nothing_acknowledged_is_lost(&mut writer, &about, &fleet));
    TABLE.enter(library.name, &about.version, &ran.join("; "), "passed");
}

/// The library's own admin client makes the first topic, where it has one.
fn topics(writer: &mut Program, about: &program::About, fleet: &Fleet) -> Vec<String> {
    let mut ran = Vec::new();
    if about.can("create") {
        writer.ask("create made 3 3");
        fleet::wait_for_topic(fleet, "made", 3, 3);
        ran.push("topic created".to_owned());
    }
    let listed = writer.ask("list");
    let topic = if about.can("create") { "made" } else { "group" };
    assert!(listed.contains(&format!("topic {topic}")), "{listed:?}");
    ran.push("topics listed".to_owned());
    ran
}

/// What was written with each codec is there once, whole and in that codec.
fn codecs(writer: &mut Program, about: &program::About, fleet: &Fleet) -> Vec<String> {
    for codec in &about.codecs {
        let topic = format!("codec-{codec}");
        writer.produce(&topic, codec, 0..RECORDS);
        let found = kafka::read_all(&kafka::config(fleet.bootstrap()), &topic);
        let mut found: Vec<_> = found
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect();
        found.sort();
        let expected: Vec<_> = (0..RECORDS)
            .map(|n| (Some(expected::key(n)), expected::value(n)))
            .collect();
        assert_eq!(found, expected, "{topic}");
        codec::assert_stored(fleet, &topic, codec);
    }
    let acks = if about.can("idempotence") {
        "idempotent"
    } else {
        "acks=all"
    };
    vec![format!("produced {acks} with {}", about.codecs.join(", "))]
}

/// The ends of a partition, and a record in its middle.
fn offsets(reader: &mut Program, about: &program::About, fleet: &Fleet) -> Vec<String> {
    let mut ran = Vec::new();
    let stored = kafka::read_all(&kafka::config(fleet.bootstrap()), "codec-none");
    let mut stored: Vec<_> = stored
        .into_iter()
        .filter(|record| record.partition == 1)
        .collect();
    stored.sort_by_key(|record| record.offset);
    if about.can("offsets") {
        let said = reader.ask("offsets codec-none 1");
        assert_eq!(said, [format!("offsets 0 {}", stored.len())]);
        ran.push("offsets listed".to_owned());
    }
    let middle = &stored[stored.len() / 2];
    let read = Record::all(&reader.ask(&format!("seek codec-none 1 {}", middle.offset)));
    let read = read.first().expect("a record from the middle");
    assert_eq!(
        (read.partition, read.offset, Some(&read.key), &read.value),
        (1, middle.offset, middle.key.as_ref(), &middle.value)
    );
    ran.push("seek".to_owned());
    ran
}

/// Two transactions are committed and one between them is aborted.
fn transactions(
    writer: &mut Program,
    reader: &mut Program,
    about: &program::About,
    fleet: &Fleet,
) -> Vec<String> {
    if about.can("transactions") {
        writer.ask("transact transactions");
    } else if about.can("isolation") {
        fleet::transact(fleet, "transactions");
    } else {
        return Vec::new();
    }
    let committed = ["committed-0", "committed-1", "committed-2", "last"];
    let read = Record::all(&reader.ask("read transactions read_committed last"));
    let keys: Vec<_> = read.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, committed, "with read_committed");
    let read = Record::all(&reader.ask("read transactions read_uncommitted last"));
    let keys: Vec<_> = read.iter().map(|record| record.key.as_str()).collect();
    let all = [
        &committed[..3],
        &["aborted-0", "aborted-1", "aborted-2"],
        &committed[3..],
    ]
    .concat();
    assert_eq!(keys, all, "with read_uncommitted");
    if about.can("transactions") {
        vec![
            "transactions committed and aborted".to_owned(),
            "read_committed".to_owned(),
        ]
    } else {
        vec!["read_committed".to_owned()]
    }
}

/// The same by SCRAM over TLS, as a user whose rules allow that one topic.
fn secure(library: &Library, fleet: &Fleet) -> Vec<String> {
    let access = fleet::secure_access(fleet);
    let mut program = Program::start(library, &access);
    program.produce("secure", "none", 0..10);
    let read = Record::all(&program.ask(&format!("read secure read_uncommitted {}", expected::key(9))));
    let keys: Vec<_> = read.into_iter().map(|record| record.key).collect();
    assert_eq!(keys, (0..10).map(expected::key).collect::<Vec<_>>());
    vec!["SCRAM over TLS".to_owned()]
}
