//! Counts as texts: what valgrind says, and what was recorded. A line for each path: its name and its instructions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// What was recorded; nothing, where there is no file yet.
pub fn read(file: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text).with_context(|| format!("in {}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

pub fn write(file: &Path, counted: &[(&str, u64)]) -> anyhow::Result<()> {
    let mut text = String::new();
    for (name, instructions) in counted {
        let _ = writeln!(text, "{name} {instructions}");
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let line = |line: &str| {
        let (name, instructions) = line
            .split_once(' ')
            .with_context(|| format!("`{line}` is no name and number"))?;
        let instructions = instructions
            .parse()
            .with_context(|| format!("`{line}` is no name and number"))?;
        Ok((name.to_owned(), instructions))
    };
    text.lines().map(line).collect()
}

/// What callgrind says at the end: `==7== Collected : 1234`.
pub fn collected(said: &str) -> Option<u64> {
    let line = said.lines().rev().find(|line| line.contains("Collected"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// How much more or less there are than were recorded.
pub fn change(recorded: Option<u64>, instructions: u64) -> String {
    match recorded {
        Some(recorded) if recorded > 0 => {
            format!("{:+.1} %", (instructions as f64 / recorded as f64 - 1.0) * 100.0)
        }
        _ => "new".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_told_in_hundredths_of_what_was_recorded() {
        assert_eq!(change(Some(1_000), 1_100), "+10.0 %");
        assert_eq!(change(Some(1_000), 995), "-0.5 %");
        assert_eq!(change(None, 5), "new");
    }

    #[test]
    fn collected_instructions_are_found_in_what_valgrind_says() {
        let said = "==7== Callgrind\n==7== \n==7== Events    : Ir\n==7== Collected : 102345\n==7== \n";
        assert_eq!(collected(said), Some(102_345));
        assert_eq!(collected("==7== killed"), None);
    }

    #[test]
    fn what_is_recorded_is_read_again_and_anything_else_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("recorded.txt");
        assert!(read(&file).expect("there is none yet").is_empty());
        write(&file, &[("parse", 7), ("append", 8)]).expect("it can be written");
        let both = BTreeMap::from([("append".to_owned(), 8), ("parse".to_owned(), 7)]);
        assert_eq!(read(&file).expect("it was written just now"), both);
        std::fs::write(&file, "parse many\n").expect("it can be written");
        let refused = format!("{:#}", read(&file).expect_err("that is no number"));
        assert!(
            refused.contains("`parse many` is no name and number"),
            "{refused}"
        );
    }
}
