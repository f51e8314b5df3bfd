//! Processes of brokers: none outlives this program, however it ends.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// All that run, for whoever ends this program from another thread. A process is waited for only while this is held, so that no id in
/// it can be another's.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

const LOOK: Duration = Duration::from_millis(5);

/// A program and its arguments.
pub type CommandLine = Vec<OsString>;

/// A process that runs. It is killed with the value.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program, on one core if one is named; what it says goes to the end of a file. The kernel kills it when the thread that
    /// started it ends.
    pub fn start(core: Option<usize>, command: &[OsString], log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut running = RUNNING.lock().expect("nobody panics while it is held");
        // Each becomes the next program in the same process.
        let pinned = core.map(|core| ["taskset".to_owned(), "-c".to_owned(), core.to_string()]);
        let mut line: CommandLine = pinned.into_iter().flatten().map(OsString::from).collect();
        line.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        line.extend_from_slice(command);
        let child = Command::new(&line[0])
            .args(&line[1..])
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start taskset or setpriv")?;
        running.insert(child.id());
        Ok(Self { child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let mut running = RUNNING.lock().expect("nobody panics while it is held");
        let ended = self.child.try_wait()?;
        if ended.is_some() {
            running.remove(&self.id());
        }
        Ok(ended)
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self, within: Duration) -> anyhow::Result<()> {
        signal(self.id(), Signal::TERM);
        let deadline = Instant::now() + within;
        while self.ended()?.is_none() {
            anyhow::ensure!(
                Instant::now() < deadline,
                "it did not stop within {} s",
                within.as_secs()
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().expect("nobody panics while it is held");
        let _ = self.child.kill();
        let _ = self.child.wait();
        running.remove(&self.id());
    }
}

/// Kills whatever runs, and lets nothing be started any more.
pub fn kill_all_for_good() {
    let running = RUNNING.lock().expect("nobody panics while it is held");
    running.iter().for_each(|pid| signal(*pid, Signal::KILL));
    std::mem::forget(running);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}
