//! A line of `docs/endurance.md` for each run: what was measured, where, when and of which commit.

use std::path::PathBuf;
use std::process::Command;

/// Names the file that lines are added to. Where it is not set, figures are printed only.
const FILE: &str = "FLOTILLA_ENDURANCE_REPORT";

/// A number that the recipe gives, or what a short run takes.
pub fn argument(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => otherwise,
    }
}

/// The wall clock, in seconds: what a client says of itself is put beside what was done to its brokers.
pub fn clock() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{:.3}", since.as_secs_f64())
}

/// Whether targets are held to: figures of a debug build, or of a run that nobody asked for, are only shown.
pub fn is_judged() -> bool {
    std::env::var_os(FILE).is_some() && !cfg!(debug_assertions)
}

/// Adds a line with `figures` below the heading `section`, newest first, and prints it.
pub fn add(section: &str, figures: &[String], met: bool) {
    let mut cells = vec![date(), commit(), machine()];
    cells.extend(figures.iter().cloned());
    cells.push(if met { "met" } else { "not met" }.to_owned());
    let line = format!("| {} |", cells.join(" | "));
    println!("{section}: {line}");
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else {
        return;
    };
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = with_line(&text, section, &line);
    let text = text.unwrap_or_else(|| panic!("{} has no table below `## {section}`", file.display()));
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// The text with `line` as the first one of the table below the heading.
fn with_line(text: &str, section: &str, line: &str) -> Option<String> {
    let heading = text.find(&format!("## {section}\n"))?;
    let ruler = heading + text[heading..].find("\n| ---")? + 1;
    let next = text[heading + 3..].find("\n## ").map(|at| at + heading + 3);
    if next.is_some_and(|next| next < ruler) {
        return None;
    }
    let end = ruler + text[ruler..].find('\n').map_or(text.len() - ruler, |at| at + 1);
    let (before, after) = text.split_at(end);
    let gap = if before.ends_with('\n') { "" } else { "\n" };
    Some(format!("{before}{gap}{line}\n{after}"))
}

fn date() -> String {
    said("date", &["-u", "+%Y-%m-%d %H:%M"])
}

fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let changed = said(
        "git",
        &[
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ":/",
            ":(top,exclude)docs",
        ],
    );
    let mark = if changed.is_empty() { "" } else { " and changes" };
    format!("{commit}{mark}")
}

/// Cores, processor, memory, build, and how busy the machine is: figures mean little without them.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_default();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!(
        "{cores} × {processor}, {} GiB, load {load}, {build}",
        memory.div_ceil(1 << 20)
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn line_stands_first_in_the_table_of_its_section_and_nowhere_else() {
    let text = "# T\n\n## One\n\n| a |\n| --- |\n| old |\n\n## Two\n\n| a |\n| --- |\n";
    let with = with_line(text, "One", "| new |").unwrap();
    assert_eq!(
        with,
        "# T\n\n## One\n\n| a |\n| --- |\n| new |\n| old |\n\n## Two\n\n| a |\n| --- |\n"
    );
    let with = with_line(&with, "Two", "| new |").unwrap();
    assert!(with.ends_with("## Two\n\n| a |\n| --- |\n| new |\n"));
    assert_eq!(with_line(text, "Three", "| new |"), None);
    assert_eq!(
        with_line("## One\n\ntext\n\n## Two\n\n| --- |\n", "One", "| new |"),
        None
    );
}
