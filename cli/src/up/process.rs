//! One process for each broker, started again when it dies.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use flotilla_control::BrokerId;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::home::Home;

/// A broker that ran this long and died is started again at once, as if it had never failed.
const STEADY: Duration = Duration::from_secs(10);

/// The longest pause before a broker is started again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a broker may take to hand its leadership over and close its logs.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// A log of an earlier run that is larger than this is put aside.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// What became of a broker.
#[derive(Debug)]
pub enum Event {
    /// Its process runs.
    Started {
        /// The broker.
        id: BrokerId,
        /// The process.
        pid: u32,
    },
    /// Its process ended, unasked.
    Died {
        /// The broker.
        id: BrokerId,
        /// How, and what it said last.
        how: String,
        /// How often in a row it died young.
        failures: u32,
        /// When it is started again.
        again_in: Duration,
    },
}

/// The brokers' processes.
pub struct Processes {
    home: Home,
    running: BTreeMap<BrokerId, Handle>,
    events: mpsc::UnboundedSender<Event>,
}

struct Handle {
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    InOrder,
    Now,
}

impl Processes {
    /// Of the fleet in a directory: none yet.
    pub fn new(home: Home) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let processes = Self {
            home,
            running: BTreeMap::new(),
            events,
        };
        (processes, receiver)
    }

    /// The brokers that are kept running.
    pub fn ids(&self) -> BTreeSet<BrokerId> {
        self.running.keys().copied().collect()
    }

    /// Keeps a broker running, whose configuration file is there. One that is kept running already is left alone.
    pub fn start(&mut self, id: BrokerId) {
        if self.running.contains_key(&id) {
            return;
        }
        let (stop, stopped) = watch::channel(Stop::No);
        let task = tokio::spawn(keep_running(self.home.clone(), id, stopped, self.events.clone()));
        self.running.insert(id, Handle { stop, task });
    }

    /// Stops a broker in order and starts it again.
    pub async fn restart(&mut self, id: BrokerId) {
        if let Some(handle) = self.running.remove(&id) {
            handle.stop.send_replace(Stop::InOrder);
            let _ = handle.task.await;
        }
        self.start(id);
    }

    /// Stops all brokers, in order: each hands its leadership over and closes its logs. `hurry` resolves when the user has no
    /// more patience; then, and after a time, what still runs is killed.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        for handle in self.running.values() {
            handle.stop.send_replace(Stop::InOrder);
        }
        let (stops, tasks): (Vec<_>, Vec<_>) = self.running.into_values().map(|h| (h.stop, h.task)).unzip();
        let all = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        tokio::pin!(all);
        tokio::select! {
            () = &mut all => return,
            () = hurry => {}
        }
        for stop in &stops {
            stop.send_replace(Stop::Now);
        }
        all.await;
    }
}

async fn keep_running(
    home: Home,
    id: BrokerId,
    mut stop: watch::Receiver<Stop>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let mut in_order = false;
        let how = match spawn(&home, id) {
            Ok(mut child) => {
                if let Some(pid) = child.id() {
                    let _ = fs::write(home.broker_pid_file(id), format!("{pid}\n"));
                    let _ = events.send(Event::Started { id, pid });
                }
                tokio::select! {
                    status = child.wait() => {
                        in_order = status.as_ref().is_ok_and(ExitStatus::success);
                        ended(&home, id, status)
                    }
                    () = asked(&mut stop) => {
                        put_down(&mut child, &mut stop).await;
                        let _ = fs::remove_file(home.broker_pid_file(id));
                        return;
                    }
                }
            }
            Err(error) => format!("{error:#}"),
        };
        let _ = fs::remove_file(home.broker_pid_file(id));
        // One that somebody ended in order has not failed.
        if in_order || began.elapsed() >= STEADY {
            failures = 0;
        }
        let again_in = pause(failures);
        failures += 1;
        let _ = events.send(Event::Died {
            id,
            how,
            failures,
            again_in,
        });
        tokio::select! {
            () = tokio::time::sleep(again_in) => {}
            () = asked(&mut stop) => return,
        }
    }
}

/// At once after the first death, then after a second, doubling to half a minute.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(6)).min(PAUSE_MAX),
    }
}

async fn asked(stop: &mut watch::Receiver<Stop>) {
    // A sender that is gone means that nobody wants the broker any more.
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
}

async fn put_down(child: &mut Child, stop: &mut watch::Receiver<Stop>) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    tokio::select! {
        _ = child.wait() => return,
        () = tokio::time::sleep(STOP_TIMEOUT) => {}
        _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
    }
    let _ = child.kill().await;
}

/// Starts `flotilla broker`. It gets a process group of its own, so that Ctrl-C reaches it only through us, and dies with us.
fn spawn(home: &Home, id: BrokerId) -> anyhow::Result<Child> {
    let config = home.broker_config(id);
    let config = fs::canonicalize(&config).with_context(|| format!("cannot find {}", config.display()))?;
    let log_path = home.broker_log(id);
    if fs::metadata(&log_path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        let _ = fs::rename(&log_path, log_path.with_extension("log.1"));
    }
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let program = this_program()?;
    let mut command = Command::new(&program);
    command
        .arg("broker")
        .arg("--config")
        .arg(&config)
        .arg("--parent")
        .arg(OsString::from(std::process::id().to_string()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the broker's log")?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// The program that runs, even where its file has been replaced by a newer one since.
fn this_program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find the program that runs")?;
    if path.exists() {
        return Ok(path);
    }
    Ok(PathBuf::from("/proc/self/exe"))
}

fn ended(home: &Home, id: BrokerId, status: std::io::Result<ExitStatus>) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return error.to_string(),
    };
    // A process that was killed had no last words.
    match status.code().and_then(|_| last_line(home, id)) {
        Some(line) => format!("{status}; it said last: {line}"),
        None => status.to_string(),
    }
}

/// The last line of a broker's log that says something.
fn last_line(home: &Home, id: BrokerId) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut log = fs::File::open(home.broker_log(id)).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(4_096))).ok()?;
    let mut tail = Vec::new();
    log.read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.to_owned())
}

/// Makes this process end, in order, when the one that started it does.
///
/// # Errors
/// The parent is gone already, or the kernel does not know how.
pub fn tie_to_parent(parent: i32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot ask to be told of the end of the process that started this one")?;
    // It may have ended before the kernel was asked.
    let now = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if now.map(i32::from) != Some(parent) {
        anyhow::bail!("process {parent}, which started this one, is gone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_started_again_at_once_then_after_a_second_doubling_to_half_a_minute() {
        let pauses: Vec<u64> = (0..9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn the_last_line_of_a_log_is_found_behind_much_else() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().to_owned());
        fs::create_dir_all(home.broker(BrokerId(1))).unwrap();
        let text = format!("{}\nthe last\n\n", "x".repeat(10_000));
        fs::write(home.broker_log(BrokerId(1)), text).unwrap();
        assert_eq!(last_line(&home, BrokerId(1)), Some("the last".to_owned()));
        assert_eq!(last_line(&home, BrokerId(2)), None);
    }
}
