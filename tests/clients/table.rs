//! A table of the README, of what was run: a row is there only if its test came to the end.
//!
//! A recipe has tests write it; every other run holds it against what was run.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Tests run side by side.
static README: Mutex<()> = Mutex::new(());

/// One of the README's tables, between `<!-- NAME -->` and `<!-- /NAME -->`.
pub struct Table {
    pub name: &'static str,
    /// What each row is about: the head of the first column.
    pub of: &'static str,
    /// What writes it, with `FLOTILLA_TABLE=write`.
    pub recipe: &'static str,
}

impl Table {
    /// Takes a row out before its test is run again, where the table is written.
    pub fn withdraw(&self, name: &str) {
        if writes() {
            let _alone = README.lock();
            let (readme, mut rows) = self.load();
            rows.retain(|row| !row.starts_with(&format!("| {name} |")));
            self.store(&readme, &rows);
        }
    }

    /// Writes a row, or sees that there is one which says what was run.
    pub fn enter(&self, name: &str, version: &str, ran: &str, result: &str) {
        let without_result = format!("| {name} | {version} | {ran} | ");
        let row = format!("{without_result}{result} |");
        let _alone = README.lock();
        let (readme, mut rows) = self.load();
        if writes() {
            rows.push(row);
            rows.sort();
            self.store(&readme, &rows);
        } else {
            assert!(
                rows.iter().any(|row| row.starts_with(&without_result)),
                "the README's table of {} lacks this row; write it with `{}`:\n{row}",
                self.name,
                self.recipe
            );
        }
    }

    /// What all rows are about.
    pub fn names(&self) -> Vec<String> {
        let (_, rows) = self.load();
        rows.iter()
            .map(|row| row.split('|').nth(1).expect("a first column").trim().to_owned())
            .collect()
    }

    fn marks(&self) -> (String, String) {
        (
            format!("<!-- {} -->", self.name),
            format!("<!-- /{} -->", self.name),
        )
    }

    fn head(&self) -> String {
        format!(
            "| {} | version | what was run | result |\n| --- | --- | --- | --- |",
            self.of
        )
    }

    /// The README, and the rows of the table.
    fn load(&self) -> (String, Vec<String>) {
        let (begin, end) = self.marks();
        let readme = std::fs::read_to_string(path()).expect("read the README");
        let table = readme
            .split(&begin)
            .nth(1)
            .and_then(|rest| rest.split(&end).next())
            .expect("the table is marked");
        let rows = table
            .trim()
            .lines()
            .skip(self.head().lines().count())
            .map(str::to_owned)
            .collect();
        (readme, rows)
    }

    fn store(&self, readme: &str, rows: &[String]) {
        let (begin, end) = self.marks();
        let (before, rest) = readme.split_once(&begin).expect("the table is marked");
        let (_, after) = rest.split_once(&end).expect("the table is marked");
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let text = format!("{before}{begin}\n{}\n{rows}{end}{after}", self.head());
        std::fs::write(path(), text).expect("write the README");
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn writes() -> bool {
    std::env::var_os("FLOTILLA_TABLE").is_some_and(|value| value == "write")
}
