//! A contender's brokers on this machine: prepared, started, stopped.

mod flotilla;
mod kafka;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flotilla_operator::certificate::{Authority, Validity};

use crate::apache::process::{CommandLine, Process};
use crate::apache::server::free_ports;
use crate::client;
use crate::outcome::Contender;
use crate::reading::Reading;

/// How long a contender may take until each of its brokers knows all of them.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a broker may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);

/// What a scenario asks for.
pub struct Plan<'a> {
    /// Our binary.
    pub flotilla: &'a Path,
    /// An empty directory.
    pub directory: &'a Path,
    pub brokers: usize,
    pub tls: bool,
    /// How often logs are looked at, where that is not the default.
    pub retention_check_ms: Option<u64>,
}

/// Where a broker is reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub plain: u16,
    pub secure: u16,
    /// For the brokers themselves.
    pub inner: [u16; 3],
}

/// Brokers that are ready to be started.
pub struct Brokers {
    commands: Vec<CommandLine>,
    addresses: Vec<Addresses>,
    data: Vec<PathBuf>,
    directory: PathBuf,
    core: usize,
    running: Vec<Process>,
}

impl Brokers {
    /// Makes directories, certificates and configurations, and formats what must be formatted.
    pub fn prepare(contender: Contender, plan: &Plan, core: usize) -> anyhow::Result<Self> {
        let addresses = free_addresses(plan.brokers)?;
        let authority = Authority::generate("versus", validity()?)?;
        std::fs::write(authority_file(plan.directory), &authority.pem().certificate)?;
        let data: Vec<PathBuf> = (0..plan.brokers)
            .map(|id| plan.directory.join(format!("data-{id}")))
            .collect();
        let commands = match contender {
            Contender::Kafka => kafka::prepare(plan, &addresses, &data, &authority)?,
            Contender::Flotilla => flotilla::prepare(plan, &addresses, &data, &authority)?,
        };
        Ok(Self {
            commands,
            addresses,
            data,
            directory: plan.directory.to_owned(),
            core,
            running: Vec::new(),
        })
    }

    /// Starts all processes, and waits for nothing.
    pub fn start(&mut self) -> anyhow::Result<()> {
        for (id, command) in self.commands.iter().enumerate() {
            let log = self.directory.join(format!("broker-{id}.log"));
            self.running.push(Process::start(Some(self.core), command, &log)?);
        }
        Ok(())
    }

    /// Waits until each broker knows all of them.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let wanted = self.addresses.len();
        for address in self.plain() {
            while client::brokers(&address).unwrap_or(0) < wanted {
                self.check()?;
                anyhow::ensure!(
                    Instant::now() < deadline,
                    "broker {address} does not know {wanted} brokers after {} s: {}",
                    READY_WITHIN.as_secs(),
                    self.last_words()
                );
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Fails where a broker has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for process in &mut self.running {
            if let Some(status) = process.ended()? {
                anyhow::bail!("a broker ended ({status}): {}", self.last_words());
            }
        }
        Ok(())
    }

    /// Stops all in order.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.running
            .drain(..)
            .try_for_each(|process| process.stop(STOP_WITHIN))
    }

    /// `HOST:PORT` of each, without TLS.
    pub fn plain(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|of| format!("127.0.0.1:{}", of.plain))
            .collect()
    }

    /// The same, with TLS.
    pub fn secure(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|of| format!("127.0.0.1:{}", of.secure))
            .collect()
    }

    /// Whom clients trust.
    pub fn authority(&self) -> PathBuf {
        authority_file(&self.directory)
    }

    pub fn read(&self) -> Reading {
        let pids: Vec<u32> = self.running.iter().map(Process::id).collect();
        Reading::of(&pids)
    }

    /// Has the system forget what it keeps of the brokers' files in memory.
    pub fn forget_pages(&self) -> anyhow::Result<()> {
        self.data.iter().try_for_each(|data| forget_pages(data))
    }

    /// The end of what the brokers said.
    fn last_words(&self) -> String {
        const LINES: usize = 5;
        let logs = (0..self.commands.len()).map(|id| self.directory.join(format!("broker-{id}.log")));
        let ends = logs.map(|log| {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join(" / ")
        });
        ends.collect::<Vec<_>>().join(" // ")
    }
}

fn free_addresses(brokers: usize) -> anyhow::Result<Vec<Addresses>> {
    let of = |ports: &[u16]| Addresses {
        plain: ports[0],
        secure: ports[1],
        inner: [ports[2], ports[3], ports[4]],
    };
    Ok(free_ports(brokers * 5)?.chunks(5).map(of).collect())
}

fn authority_file(directory: &Path) -> PathBuf {
    directory.join("ca.crt")
}

fn validity() -> anyhow::Result<Validity> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    // A day, and an hour before now, for clocks that are read by others.
    Ok(Validity::days(now.as_secs() - 3_600, 2))
}

/// Writes what is not written yet, and advises the system to keep nothing of the files (posix_fadvise(2)).
fn forget_pages(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget_pages(&entry.path())?;
        } else if let Ok(file) = std::fs::File::open(entry.path()) {
            file.sync_data()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
