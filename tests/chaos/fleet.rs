//! A fleet of broker processes, each with a network namespace, a disk and a clock of its own.

mod plan;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use flotilla_control::config::BrokerConfig;
use flotilla_operator::fleet::Access;
use rustix::process::{Pid, Signal};

use crate::disk::Disk;
use crate::switch::namespace;

/// The port of the listener for clients.
pub const CLIENT_PORT: u16 = 9_092;

/// The port that a broker says its numbers at.
pub const ADMIN_PORT: u16 = 9_095;

/// The brokers, by their ids, from 0.
pub struct Fleet {
    directory: PathBuf,
    access: Access,
    seats: Vec<Seat>,
    clock: Option<PathBuf>,
}

/// What a broker is made of.
struct Seat {
    config: BrokerConfig,
    disk: Disk,
    child: Option<Child>,
    paused: bool,
}

impl Fleet {
    /// Makes disks, certificates and configurations. Nothing runs yet.
    pub fn prepare(directory: &Path, brokers: usize, clocks: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(directory.join("logs"))?;
        let mut disks = Vec::new();
        for id in 0..brokers {
            disks.push(Disk::make(
                &directory.join(format!("disk-{id}.img")),
                &directory.join(format!("disk-{id}")),
            )?);
            fs::write(clock_file(directory, id), "+0\n")?;
        }
        let data: Vec<PathBuf> = disks.iter().map(Disk::data).collect();
        let (configs, access) = plan::brokers(directory, &data)?;
        let seats = configs.into_iter().zip(disks).map(|(config, disk)| Seat {
            config,
            disk,
            child: None,
            paused: false,
        });
        let fleet = Self {
            directory: directory.to_owned(),
            access,
            seats: seats.collect(),
            clock: if clocks { Some(clock_library()?) } else { None },
        };
        fleet.write_configs()?;
        Ok(fleet)
    }

    /// How the fleet's own interface is reached.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// What clients are told.
    pub fn bootstrap(&self) -> String {
        let hosts = (0..self.seats.len()).map(|id| format!("{}:{CLIENT_PORT}", crate::switch::address(id)));
        hosts.collect::<Vec<_>>().join(",")
    }

    pub fn size(&self) -> usize {
        self.seats.len()
    }

    pub fn disk(&self, id: usize) -> &Disk {
        &self.seats[id].disk
    }

    pub fn runs(&self, id: usize) -> bool {
        self.seats[id].child.is_some()
    }

    /// From now on an empty directory never begins a cluster.
    pub fn bootstrapped(&mut self) -> anyhow::Result<()> {
        for seat in &mut self.seats {
            seat.config.quorum.bootstrapped = true;
        }
        self.write_configs()
    }

    fn write_configs(&self) -> anyhow::Result<()> {
        for (id, seat) in self.seats.iter().enumerate() {
            fs::write(self.config_file(id), seat.config.to_yaml())?;
        }
        Ok(())
    }

    fn config_file(&self, id: usize) -> PathBuf {
        self.directory.join(format!("broker-{id}.yaml"))
    }

    /// The log of a broker's process.
    pub fn log_file(&self, id: usize) -> PathBuf {
        self.directory.join(format!("logs/broker-{id}.log"))
    }

    /// Starts a broker. One that runs is left alone.
    pub fn start(&mut self, id: usize) -> anyhow::Result<()> {
        if self.runs(id) {
            return Ok(());
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file(id))?;
        // By the namespace's file and not `ip netns exec`, which would mount things.
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", namespace(id)))
            .arg(env!("CARGO_BIN_EXE_flotilla"))
            .args(["broker", "--config"])
            .arg(self.config_file(id))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(library) = &self.clock {
            // A step moves the wall clock alone, as on a real machine.
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", clock_file(&self.directory, id))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        self.seats[id].child = Some(command.spawn().context("cannot start nsenter")?);
        self.seats[id].paused = false;
        Ok(())
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self, id: usize) -> anyhow::Result<()> {
        if let Some(mut child) = self.seats[id].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// `kill -9` of all of them, and only then waits.
    pub fn kill_all(&mut self) -> anyhow::Result<()> {
        for child in self.seats.iter_mut().filter_map(|seat| seat.child.as_mut()) {
            child.kill()?;
        }
        (0..self.size()).try_for_each(|id| self.kill(id))
    }

    /// SIGTERM, and waits until it has ended in order. One that does not is killed, and `false` is said.
    pub fn terminate(&mut self, id: usize, within: Duration) -> anyhow::Result<bool> {
        self.signal(id, Signal::TERM);
        let deadline = Instant::now() + within;
        while let Some(child) = &mut self.seats[id].child {
            if child.try_wait()?.is_some() {
                self.seats[id].child = None;
                return Ok(true);
            }
            if Instant::now() > deadline {
                self.kill(id)?;
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    pub fn pause(&mut self, id: usize) {
        self.signal(id, Signal::STOP);
        self.seats[id].paused = true;
    }

    pub fn resume(&mut self, id: usize) {
        self.signal(id, Signal::CONT);
        self.seats[id].paused = false;
    }

    fn signal(&self, id: usize, signal: Signal) {
        let child = self.seats[id].child.as_ref();
        if let Some(pid) = child.and_then(|child| Pid::from_raw(child.id() as i32)) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Sets a broker's wall clock, in seconds from the true time.
    pub fn set_clock(&self, id: usize, seconds: i64) -> anyhow::Result<()> {
        let file = clock_file(&self.directory, id);
        let fresh = file.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n"))?;
        Ok(fs::rename(fresh, file)?)
    }

    /// The brokers that ended, though nobody ended them, since this was asked last.
    pub fn ended(&mut self) -> Vec<(usize, ExitStatus)> {
        let mut ended = Vec::new();
        for (id, seat) in self.seats.iter_mut().enumerate() {
            let status = seat
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = status {
                seat.child = None;
                ended.push((id, status));
            }
        }
        ended
    }

    /// The last line of a broker's log that says something.
    pub fn last_words(&self, id: usize) -> String {
        let log = fs::read(self.log_file(id)).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(4_096)..]).into_owned();
        let line = tail.lines().rev().find(|line| !line.trim().is_empty());
        line.unwrap_or_default().trim().to_owned()
    }
}

fn clock_file(directory: &Path, id: usize) -> PathBuf {
    directory.join(format!("clock-{id}"))
}

/// libfaketime, as Debian installs it.
fn clock_library() -> anyhow::Result<PathBuf> {
    let candidates = fs::read_dir("/usr/lib").context("cannot read /usr/lib")?;
    candidates
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .context("libfaketime is not installed: run tests/chaos/install")
}
