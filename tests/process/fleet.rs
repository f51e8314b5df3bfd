//! A fleet of real broker processes in a temporary directory, started by `flotilla up` as a user would.
//!
//! Everything ends with the value: `up` gets SIGKILL, its brokers die with it, the directory goes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use flotilla_control::config::BrokerConfig;
use serde_json::Value;

use crate::eventually::eventually;

/// How long a fleet may take until it answers. A debug build on two busy cores; what users see is measured elsewhere.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The lines that a child says on its piped standard output, as they come.
pub fn lines_of(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A Cluster of `replicas` brokers with a plaintext listener `internal`, and one Topic for each of `topics`.
pub fn manifests(replicas: u32, topics: &[(&str, u32, u32)]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    files.insert(
        "cluster.yaml".to_owned(),
        format!(
            "apiVersion: flotilla.dev/v1alpha1\n\
             kind: Cluster\n\
             metadata: {{name: test}}\n\
             spec:\n\
             \x20 replicas: {replicas}\n\
             \x20 listeners:\n\
             \x20   - {{name: internal, port: 9092}}\n\
             \x20 config:\n\
             \x20   min.insync.replicas: {}\n\
             \x20   group.initial.rebalance.delay.ms: 200\n",
            if replicas >= 3 { 2 } else { 1 }
        ),
    );
    for (name, partitions, factor) in topics {
        files.insert(
            format!("topic-{name}.yaml"),
            topic(name, *partitions, *factor, ""),
        );
    }
    files
}

/// The manifest of one Topic; `config` is a YAML flow mapping's inside, such as `retention.ms: 1000`.
pub fn topic(name: &str, partitions: u32, replicas: u32, config: &str) -> String {
    format!(
        "apiVersion: flotilla.dev/v1alpha1\n\
         kind: Topic\n\
         metadata: {{name: {name}}}\n\
         spec:\n\
         \x20 cluster: {{name: test}}\n\
         \x20 partitions: {partitions}\n\
         \x20 replicas: {replicas}\n\
         \x20 config: {{{config}}}\n"
    )
}

/// A running `flotilla up`.
pub struct Fleet {
    directory: tempfile::TempDir,
    up: Option<Child>,
    stdout: Option<Receiver<String>>,
    stderr: PathBuf,
    bootstrap: String,
}

impl Fleet {
    /// Writes the manifests, starts `up` and waits until the fleet answers.
    pub fn start(manifests: &BTreeMap<String, String>) -> Self {
        let mut fleet = Self::prepare(manifests);
        fleet.up();
        fleet
    }

    /// Writes the manifests and starts nothing.
    pub fn prepare(manifests: &BTreeMap<String, String>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join("manifests")).expect("create the manifests' directory");
        let fleet = Self {
            stderr: directory.path().join("up.stderr"),
            directory,
            up: None,
            stdout: None,
            bootstrap: String::new(),
        };
        for (name, text) in manifests {
            fleet.write_manifest(name, text);
        }
        fleet
    }

    /// Starts `up` on the manifests and the data that are there, and waits for its ready line.
    pub fn up(&mut self) {
        self.spawn_up();
        self.wait_until_ready();
    }

    /// The same, with the data on a file system of so many MiB, in a mount namespace that ends with `up`.
    pub fn up_on_small_disk(&mut self, mib: u32) {
        std::fs::create_dir_all(self.data()).expect("create the data directory");
        let script = format!("mount -t tmpfs -o size={mib}m none \"$DATA\" && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "--kill-child",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        command.env("DATA", self.data());
        self.up_within(command);
    }

    /// Starts `up` by a program that prepares something, becomes what its last arguments say, and stays in its process, and waits
    /// for the ready line.
    pub fn up_within(&mut self, mut wrapper: Command) {
        wrapper.arg(env!("CARGO_BIN_EXE_flotilla"));
        self.spawn(wrapper);
        self.wait_until_ready();
    }

    /// Starts `up` without waiting.
    pub fn spawn_up(&mut self) {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_flotilla")));
    }

    /// The log of a broker, as the processes of the fleet see it, in whatever mount namespace.
    pub fn broker_log(&self, id: i64) -> String {
        let path = self.seen_by_up(&self.data().join(format!("brokers/{id}/broker.log")));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A path under which this process reaches what `path` is to `up` and its brokers, in whatever mount namespace.
    pub fn seen_by_up(&self, path: &Path) -> PathBuf {
        let root = self
            .up
            .as_ref()
            .map_or("/".into(), |up| PathBuf::from(format!("/proc/{}/root", up.id())));
        root.join(path.strip_prefix("/").expect("the directory's path is absolute"))
    }

    /// The process id of `up`.
    pub fn up_pid(&self) -> u32 {
        self.up.as_ref().expect("up was started").id()
    }

    fn wait_until_ready(&mut self) {
        let ready = self.wait_for_line(READY_WITHIN, |line| line.starts_with("ready: bootstrap="));
        self.bootstrap = ready.trim_start_matches("ready: bootstrap=").to_owned();
    }

    fn spawn(&mut self, mut command: Command) {
        let stderr = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.stderr)
            .expect("a file for what up reports");
        let mut child = command
            .arg("up")
            .arg(self.manifest_directory())
            .arg("--data")
            .arg(self.data())
            .args(["--port-base", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("start flotilla up");
        self.stdout = Some(lines_of(&mut child));
        self.up = Some(child);
    }

    /// Waits for a line on `up`'s standard output.
    pub fn wait_for_line(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + within;
        let lines = self.stdout.as_ref().expect("up was started");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("no such line from up ({error}); it reported:\n{}", self.reports()),
            }
        }
    }

    /// Waits until what `up` wrote to its standard error contains `text`.
    pub fn wait_for_report(&self, within: Duration, text: &str) {
        eventually(within, &format!("`{text}` in the reports of up"), || {
            let reports = self.reports();
            if reports.contains(text) {
                Ok(())
            } else {
                Err(reports)
            }
        });
    }

    /// All that `up` wrote to its standard error.
    pub fn reports(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Asks `up` to stop as Ctrl-C does, and gives its exit status.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let mut up = self.up.take().expect("up was started");
        signal(up.id(), rustix::process::Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = up.try_wait().expect("wait for up") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "up did not stop; it reported:\n{}",
                self.reports()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills `up`, and with it its brokers, without a chance to say goodbye.
    pub fn kill(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
    }

    /// Creates or replaces a manifest, as an editor does: a new file, renamed over the old one.
    pub fn write_manifest(&self, name: &str, text: &str) {
        let directory = self.manifest_directory();
        let partial = directory.join(format!(".{name}.partial"));
        std::fs::write(&partial, text).expect("write a manifest");
        std::fs::rename(partial, directory.join(name)).expect("put the manifest in place");
    }

    /// Where the manifests are.
    pub fn manifest_directory(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }

    /// Where `up` keeps everything.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file that is laid out for a user, such as `password`, once it is there.
    pub fn user_file(&self, user: &str, file: &str) -> String {
        let path = self.data().join("users").join(user).join(file);
        eventually(Duration::from_secs(20), &format!("{file} of {user}"), || {
            std::fs::read_to_string(&path).map_err(|error| error.to_string())
        })
    }

    /// `HOST:PORT,...` as the ready line said.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What `flotilla status --output json` says.
    pub fn status(&self) -> Result<Value, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .args(["status", "--output", "json", "--data"])
            .arg(self.data())
            .output()
            .expect("run flotilla status");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    /// Waits until a status satisfies `wanted`, and gives it.
    pub fn wait_for_status(&self, within: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(within, what, || match self.status() {
            Ok(status) if wanted(&status) => Ok(status),
            Ok(status) => Err(format!("{status:#}")),
            Err(error) => Err(error),
        })
    }

    /// The process id of a broker.
    pub fn broker_pid(&self, id: i64) -> u32 {
        let status = self.status().expect("the status of the fleet");
        let brokers = status["brokers"].as_array().expect("brokers are a list");
        let broker = brokers
            .iter()
            .find(|broker| broker["id"] == id)
            .expect("the broker is known");
        broker["pid"].as_u64().expect("the broker runs") as u32
    }

    /// `kill -9` of one broker.
    pub fn kill_broker(&self, id: i64) {
        signal(self.broker_pid(id), rustix::process::Signal::KILL);
    }

    /// The process id of a broker that runs, as `up` wrote it down: asks nobody, so that nothing is measured with it.
    pub fn pid_of(&self, id: i64) -> u32 {
        let path = self.data().join(format!("brokers/{id}/pid"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().parse().expect("a process id")
    }

    /// Where the first listener of a broker is reached.
    pub fn address_of(&self, id: i64) -> String {
        let file = self.data().join(format!("brokers/{id}/broker.yaml"));
        let config = BrokerConfig::load(&file).expect("up wrote a configuration");
        let address = config.listeners[0].advertised.as_ref();
        address.expect("it is advertised").to_string()
    }

    /// Stops a broker the hard way, and takes its data away before it is started again.
    pub fn empty_volume(&self, id: i64) {
        let (up, pid) = (self.up_pid(), self.broker_pid(id));
        // While `up` sleeps it starts nothing.
        signal(up, rustix::process::Signal::STOP);
        signal(pid, rustix::process::Signal::KILL);
        eventually(Duration::from_secs(10), "the broker to end", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let ended = stat.is_empty() || stat.contains(") Z ");
            ended.then_some(()).ok_or(stat)
        });
        std::fs::remove_dir_all(self.data().join(format!("brokers/{id}/data"))).expect("empty the volume");
        signal(up, rustix::process::Signal::CONT);
    }

    /// The leader of a partition.
    pub fn leader(&self, topic: &str, partition: i64) -> i64 {
        let status = self.wait_for_status(Duration::from_secs(20), "a leader", |status| {
            partition_of(status, topic, partition)
                .is_some_and(|p| p["leader"].as_i64().is_some_and(|l| l >= 0))
        });
        partition_of(&status, topic, partition).expect("it is there")["leader"]
            .as_i64()
            .expect("a number")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("up reported:\n{}", self.reports());
            for log in broker_logs(&self.data()) {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(40).collect();
                eprintln!("the end of {}:", log.display());
                tail.iter().rev().for_each(|line| eprintln!("  {line}"));
            }
        }
        self.kill();
    }
}

fn broker_logs(data: &Path) -> Vec<PathBuf> {
    let Ok(brokers) = std::fs::read_dir(data.join("brokers")) else {
        return Vec::new();
    };
    let mut logs: Vec<PathBuf> = brokers
        .flatten()
        .map(|entry| entry.path().join("broker.log"))
        .collect();
    logs.sort();
    logs
}

/// A partition in a status.
pub fn partition_of<'a>(status: &'a Value, topic: &str, partition: i64) -> Option<&'a Value> {
    let topics = status["topics"].as_array()?;
    let topic = topics.iter().find(|candidate| candidate["name"] == topic)?;
    topic["partitions"]
        .as_array()?
        .iter()
        .find(|candidate| candidate["partition"] == partition)
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("process ids are positive");
    let _ = rustix::process::kill_process(pid, signal);
}
