//! A fleet's directory on this machine: where everything lies in it, what is remembered from run to run, and the lock that
//! keeps a second `flotilla up` out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use flotilla_control::config::{BrokerConfig, InternalTls};
use flotilla_control::tls::Credentials;
use flotilla_control::{BrokerId, Uuid};
use flotilla_crds::DeletionPolicy;
use flotilla_operator::cluster::Identity;
use flotilla_operator::fleet::Access;
use serde::{Deserialize, Serialize};

/// Where fleets live when nobody says: one directory for each Cluster.
pub const DEFAULT_PARENT: &str = ".flotilla";

/// The directory of one fleet.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// What is remembered from run to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Name of the Cluster that the directory belongs to.
    pub cluster: String,
    /// What is decided once for a cluster.
    pub identity: Identity,
    /// What `--port-base` said when the ports were given out.
    #[serde(default)]
    pub port_base: Option<u16>,
    /// The ports of each broker, by listener and by inner listener.
    #[serde(default)]
    pub ports: BTreeMap<i32, BTreeMap<String, u16>>,
    /// The Topics that were followed, by namespace/name.
    #[serde(default)]
    pub topics: BTreeMap<String, FollowedTopic>,
    /// The Users that were followed: Kafka's names by namespace/name.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
    /// The broker settings that were set while brokers ran.
    #[serde(default)]
    pub dynamic_settings: Vec<String>,
    /// Brokers that were added and have not got their share of the partitions yet.
    #[serde(default)]
    pub joining: Vec<i32>,
}

/// A Topic as it was last followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowedTopic {
    /// Its name in Kafka.
    pub name: String,
    /// The settings that it named.
    pub settings: Vec<String>,
    /// What becomes of the topic when its manifest goes.
    pub deletion_policy: DeletionPolicy,
}

/// Held while a fleet runs. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its lock")] File);

impl Home {
    /// The directory at `path`. Nothing is looked at or made.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// How its brokers are reached.
    pub fn access(&self, configs: &[BrokerConfig]) -> anyhow::Result<Access> {
        let first = configs.first().context("no broker has been started here yet")?;
        Ok(Access {
            cluster_id: first.cluster_id,
            credentials: Credentials::read(&self.operator_tls())?,
            brokers: configs
                .iter()
                .map(|config| (config.broker_id, config.control.advertised.to_string()))
                .collect(),
        })
    }

    /// The directory that a command means: the one named, or the only one there is.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            let home = Self(path.to_owned());
            if !home.memory_file().exists() {
                bail!(
                    "{} holds no fleet: `flotilla up DIR --data {}` makes one",
                    path.display(),
                    path.display()
                );
            }
            return Ok(home);
        }
        let mut found: Vec<Self> = fs::read_dir(DEFAULT_PARENT)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(Self(entry.ok()?.path())))
            .filter(|home| home.memory_file().exists())
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        match (found.pop(), found.is_empty()) {
            (Some(home), true) => Ok(home),
            (Some(_), false) => {
                bail!("there are several fleets in {DEFAULT_PARENT}: say which with --data DIR")
            }
            (None, _) => bail!(
                "there is no fleet in {DEFAULT_PARENT}: run `flotilla up DIR`, or say where it is with --data DIR"
            ),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn memory_file(&self) -> PathBuf {
        self.0.join("fleet.json")
    }

    /// All that belongs to one broker.
    pub fn broker(&self, id: BrokerId) -> PathBuf {
        self.0.join("brokers").join(id.to_string())
    }

    /// A broker's configuration file.
    pub fn broker_config(&self, id: BrokerId) -> PathBuf {
        self.broker(id).join("broker.yaml")
    }

    /// What a broker writes to its terminal.
    pub fn broker_log(&self, id: BrokerId) -> PathBuf {
        self.broker(id).join("broker.log")
    }

    /// The process id of a broker that was started.
    pub fn broker_pid_file(&self, id: BrokerId) -> PathBuf {
        self.broker(id).join("pid")
    }

    /// All that a user's application needs.
    pub fn user(&self, name: &str) -> PathBuf {
        self.0.join("users").join(name)
    }

    /// The authorities.
    pub fn authorities(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// What proves the command line to brokers.
    pub fn operator_tls(&self) -> InternalTls {
        let directory = self.0.join("operator");
        InternalTls {
            ca: self.authorities().join("cluster.crt"),
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        }
    }

    /// Makes the directory if it is not there, and takes it for this process alone.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        fs::create_dir_all(&self.0).with_context(|| {
            format!(
                "cannot make the data directory {}: choose another with --data DIR",
                self.0.display()
            )
        })?;
        let path = self.0.join("lock");
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| {
                format!(
                    "cannot write to the data directory {}: give yourself permission, or choose another with --data DIR",
                    self.0.display()
                )
            })?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(Lock(file))
            }
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                bail!(
                    "another `flotilla up` (process {}) runs the fleet in {}: stop it first, or choose another directory with --data DIR",
                    holder.trim(),
                    self.0.display()
                )
            }
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// What is remembered, if there has been a run before.
    pub fn recall(&self) -> anyhow::Result<Option<Memory>> {
        let file = self.memory_file();
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged, and without it the data beside it belongs to no cluster: restore it from a copy, or move \
                     the directory away to begin anew",
                    file.display()
                )
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Remembers.
    pub fn remember(&self, memory: &Memory) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(memory).context("cannot write down what is remembered")?;
        text.push(b'\n');
        write_whole(&self.memory_file(), &text, 0o644)
    }

    /// The configurations of the brokers that have been started here, by id.
    pub fn broker_configs(&self) -> anyhow::Result<Vec<BrokerConfig>> {
        let mut configs = Vec::new();
        let directory = self.0.join("brokers");
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let file = entry?.path().join("broker.yaml");
            if file.exists() {
                configs.push(BrokerConfig::load(&file)?);
            }
        }
        configs.sort_by_key(|config| config.broker_id);
        Ok(configs)
    }

    /// The process of a broker, if it lives.
    pub fn broker_process(&self, id: BrokerId) -> Option<i32> {
        let pid: i32 = fs::read_to_string(self.broker_pid_file(id))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // Another process may have got the number since: only one that runs a broker counts.
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.broker_config(id);
        let config = fs::canonicalize(&config).unwrap_or(config);
        command
            .split(|byte| *byte == 0)
            .any(|argument| argument == config.as_os_str().as_encoded_bytes())
            .then_some(pid)
    }
}

/// Writes a file so that it is either there whole or as it was, and readable to those whom `mode` names. A file that holds
/// these bytes already is not touched.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let fresh = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&fresh)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes that nobody can guess.
pub fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot draw random bytes from /dev/urandom")?;
    Ok(bytes)
}

/// A new id, as Kafka draws them: version 4, and never beginning with `-`, which command lines would take for an option.
pub fn random_uuid() -> anyhow::Result<Uuid> {
    loop {
        let mut bytes = random_bytes::<16>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory {
            cluster: "quickstart".to_owned(),
            identity: Identity {
                cluster_id: random_uuid().unwrap(),
                voters: BTreeMap::from([(BrokerId(0), random_uuid().unwrap())]),
                blocks: BTreeMap::from([("main".to_owned(), BrokerId(0))]),
                bootstrapped: true,
            },
            port_base: Some(0),
            ports: BTreeMap::from([(0, BTreeMap::from([("plain".to_owned(), 9092)]))]),
            topics: BTreeMap::from([(
                "default/orders".to_owned(),
                FollowedTopic {
                    name: "orders".to_owned(),
                    settings: vec!["retention.ms".to_owned()],
                    deletion_policy: DeletionPolicy::DeleteIfEmpty,
                },
            )]),
            users: BTreeMap::from([("default/checkout".to_owned(), "checkout".to_owned())]),
            dynamic_settings: vec![],
            joining: vec![3],
        }
    }

    #[test]
    fn what_was_remembered_is_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("fleet"));
        let _lock = home.lock().unwrap();
        assert_eq!(home.recall().unwrap(), None);
        home.remember(&memory()).unwrap();
        let recalled = home.recall().unwrap().unwrap();
        assert_eq!(
            (recalled.ports, recalled.topics),
            (memory().ports, memory().topics)
        );
        assert_eq!(recalled.joining, [3]);
        fs::write(home.memory_file(), "{").unwrap();
        let error = home.recall().unwrap_err().to_string();
        assert!(error.contains("fleet.json is damaged"), "{error}");
    }

    #[test]
    fn a_directory_in_use_is_refused_and_says_by_whom() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().to_owned());
        let lock = home.lock().unwrap();
        let error = home.lock().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("another `flotilla up` (process {})", std::process::id())),
            "{error}"
        );
        drop(lock);
        home.lock().unwrap();
    }

    #[test]
    fn secrets_are_readable_to_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users/checkout/password");
        for text in ["one", "two", "two"] {
            write_whole(&path, text.as_bytes(), 0o600).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
