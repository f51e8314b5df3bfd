//! The machine, and how busy it is: figures of a busy one are not claimed.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// What says how connections of this network share a line.
pub const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// The load average of the last minute above which nothing is begun.
pub const LOAD_MAX: f64 = 1.0;

/// What figures were made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_gib: u64,
    pub kernel: String,
    /// Of TCP; empty where it was not noted.
    #[serde(default)]
    pub congestion_control: String,
    /// Of the last minute, when the scenario began.
    pub load: f64,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal")
            .trim_end_matches(" kB")
            .parse();
        Self {
            cores: cores(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: memory.unwrap_or(0_u64).div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: read(CONGESTION_CONTROL).trim().to_owned(),
            load: load(),
        }
    }

    pub fn text(&self) -> String {
        let tcp = match self.congestion_control.as_str() {
            "" => String::new(),
            name => format!(" (TCP: {name})"),
        };
        format!(
            "{} cores of {}, {} GiB, Linux {}{tcp}, load average {} at the start",
            self.cores, self.processor, self.memory_gib, self.kernel, self.load
        )
    }
}

/// The cores of the machine, whichever of them this process may use.
pub fn cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(f64::NAN)
}

/// Now, in UTC.
pub fn date() -> String {
    said("date", &["-u", "+%Y-%m-%d %H:%M"])
}

/// The commit that was built, and whether something was changed since.
pub fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let changes = [
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":(top,exclude)docs",
    ];
    let mark = if said("git", &changes).is_empty() {
        ""
    } else {
        " and changes"
    };
    format!("{commit}{mark}")
}

/// What a file of `name: value` lines says of `name`.
pub fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output.map_or_else(
        |error| format!("{program}: {error}"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[test]
fn fields_are_found_by_name() {
    let text = "processor\t: 0\nmodel name\t: Some CPU\n";
    assert_eq!(field(text, "model name"), "Some CPU");
    assert_eq!(field(text, "flags"), "?");
}
