//! What the system says of processes: `/proc`. Texts are parsed apart from where they are read, to be tested.

use std::path::Path;

/// The unit of processor times in `/proc`: USER_HZ, which is 100 wherever Linux runs (proc(5)).
const TICKS_A_SECOND: f64 = 100.0;

/// Some processes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Processor seconds of the processes.
    pub cpu_s: f64,
    /// Processor seconds that the whole machine was busy.
    pub machine_s: f64,
    /// Processor seconds of this process and of those of its children that have ended.
    pub own_s: f64,
    pub resident_mb: f64,
    pub peak_mb: f64,
    pub read_gb: f64,
    pub written_gb: f64,
    pub open_files: f64,
}

impl Reading {
    /// Of processes that live. What cannot be read counts as nothing.
    pub fn of(pids: &[u32]) -> Self {
        let mut sum = Self {
            machine_s: busy_s(&read("/proc/stat")),
            own_s: own_s(&read("/proc/self/stat")),
            ..Self::default()
        };
        for pid in pids {
            let (status, io) = (
                read(format!("/proc/{pid}/status")),
                read(format!("/proc/{pid}/io")),
            );
            sum.cpu_s += cpu_s(&read(format!("/proc/{pid}/stat")));
            sum.resident_mb += number(&status, "VmRSS:") * 1_024.0 / 1e6;
            sum.peak_mb += number(&status, "VmHWM:") * 1_024.0 / 1e6;
            sum.read_gb += number(&io, "read_bytes:") / 1e9;
            sum.written_gb += number(&io, "write_bytes:") / 1e9;
            let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
            sum.open_files += files.map_or(0, Iterator::count) as f64;
        }
        sum
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The fields of `/proc/PID/stat` from the third on: the second one is a name, which may contain anything.
fn fields(stat: &str) -> Vec<f64> {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect()
}

/// utime and stime, the 14th and 15th.
fn cpu_s(stat: &str) -> f64 {
    fields(stat).iter().skip(11).take(2).sum::<f64>() / TICKS_A_SECOND
}

/// The same with cutime and cstime, of children that were waited for.
fn own_s(stat: &str) -> f64 {
    fields(stat).iter().skip(11).take(4).sum::<f64>() / TICKS_A_SECOND
}

/// All processor time of `/proc/stat` but idle and iowait. What guests used is in `user` already.
fn busy_s(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|time| time.parse().ok())
        .collect();
    let busy = times
        .iter()
        .take(8)
        .enumerate()
        .filter(|(place, _)| !matches!(place, 3 | 4));
    busy.map(|(_, time)| time).sum::<f64>() / TICKS_A_SECOND
}

fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

#[test]
fn processor_times_are_found_behind_any_name() {
    let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 9 0 1 2 3";
    assert_eq!((cpu_s(stat), own_s(stat)), (3.0, 3.5));
    assert_eq!(cpu_s(""), 0.0);
}

#[test]
fn machine_is_busy_with_all_but_idling_and_waiting() {
    let stat = "cpu  100 20 30 5000 600 7 8 35 11 0\ncpu0 1 1 1 1\n";
    assert_eq!(busy_s(stat), 2.0);
}

#[test]
fn memory_and_traffic_are_read_by_name() {
    let status = "VmPeak:\t 9 kB\nVmHWM:\t  2000 kB\nVmRSS:\t 1000 kB\n";
    assert_eq!(
        (number(status, "VmHWM:"), number(status, "VmSwap:")),
        (2000.0, 0.0)
    );
    assert_eq!(number("rchar: 1\nread_bytes: 4096\n", "read_bytes:"), 4096.0);
}

#[test]
fn living_process_has_memory_and_files() {
    let own = Reading::of(&[std::process::id()]);
    assert!(
        own.resident_mb > 0.1 && own.peak_mb >= own.resident_mb && own.open_files >= 1.0,
        "{own:?}"
    );
    assert!(own.machine_s > 0.0);
}
