//! The README's table of client libraries: a row is there only if its library ran the scenario to the end.
//!
//! `just clients-table` writes it; every other run holds it against what was run.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

const BEGIN: &str = "<!-- clients -->";
const END: &str = "<!-- /clients -->";
const HEAD: &str = "| client | version | what was run | result |\n| --- | --- | --- | --- |";

/// Libraries run side by side.
static README: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn writes() -> bool {
    std::env::var_os("FLOTILLA_CLIENTS_TABLE").is_some_and(|value| value == "write")
}

/// The README, and the rows of its table.
fn load() -> (String, Vec<String>) {
    let readme = std::fs::read_to_string(path()).expect("read the README");
    let table = readme
        .split(BEGIN)
        .nth(1)
        .and_then(|rest| rest.split(END).next())
        .expect("the table is marked");
    let rows = table
        .trim()
        .lines()
        .skip(HEAD.lines().count())
        .map(str::to_owned)
        .collect();
    (readme, rows)
}

fn store(readme: &str, rows: &[String]) {
    let (before, rest) = readme.split_once(BEGIN).expect("the table is marked");
    let (_, after) = rest.split_once(END).expect("the table is marked");
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let text = format!("{before}{BEGIN}\n{HEAD}\n{rows}{END}{after}");
    std::fs::write(path(), text).expect("write the README");
}

fn is_of(row: &str, name: &str) -> bool {
    row.starts_with(&format!("| {name} |"))
}

/// Takes a library's row out before it is run again, where the table is written.
pub fn withdraw(name: &str) {
    if writes() {
        let _alone = README.lock();
        let (readme, mut rows) = load();
        rows.retain(|row| !is_of(row, name));
        store(&readme, &rows);
    }
}

/// Writes a library's row, or sees that it says what was run.
pub fn enter(name: &str, version: &str, ran: &str) {
    let row = format!("| {name} | {version} | {ran} | passed |");
    let _alone = README.lock();
    let (readme, mut rows) = load();
    if writes() {
        rows.push(row);
        rows.sort();
        store(&readme, &rows);
    } else {
        assert!(
            rows.contains(&row),
            "the README's table of clients lacks this row; write it with `just clients-table`:\n{row}"
        );
    }
}

/// The names of all libraries in the table.
pub fn names() -> Vec<String> {
    let (_, rows) = load();
    rows.iter()
        .map(|row| row.split('|').nth(1).expect("a first column").trim().to_owned())
        .collect()
}
