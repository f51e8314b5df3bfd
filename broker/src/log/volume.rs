//! A data directory: whose it is, who uses it, what lies in it, and whether it can be written to.

mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};
use parking_lot::Mutex;

use super::checkpoint::{self, Offsets, ReadError};
use super::disk::{Disk, Lock};
use super::error::{self, Error, Severity, is_full};
use super::recovery::read_topic_id;
use names::{is_deleted_name, parse_copy, parse_partition};

pub use names::copy_name;
pub(super) use names::deleted_name;

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const START_OFFSETS: &str = "log-start-offset-checkpoint";
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// What is kept free where nobody says otherwise: a hundredth of the file system, within these bounds.
const RESERVE_BYTES_MIN: u64 = 64 << 20;
const RESERVE_BYTES_MAX: u64 = 1 << 30;

/// Whose a volume is: written when it is formatted, and never changed (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The broker.
    pub broker_id: BrokerId,
    /// The directory itself: one that was emptied is another.
    pub directory_id: Uuid,
}

/// Why a volume cannot be used. The messages say what to do; nothing on the volume was changed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It holds records of another cluster.
    #[error(
        "{path} belongs to the cluster {found}, not to {expected}: give this broker the directory of its own cluster, or an empty one",
        path = path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster that is asked for.
        expected: String,
        /// The cluster that it belongs to.
        found: String,
    },
    /// It holds records of another broker.
    #[error(
        "{path} belongs to broker {found}, not to broker {expected}: give each broker its own directory, or an empty one",
        path = path.display()
    )]
    OtherBroker {
        /// The directory.
        path: PathBuf,
        /// The broker that is asked for.
        expected: BrokerId,
        /// The broker that it belongs to.
        found: BrokerId,
    },
    /// Somebody else's files are in it.
    #[error(
        "{path} holds files but no {META_PROPERTIES}, so it is not a data directory: give an empty directory",
        path = path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// It was never formatted.
    #[error("{path} has not been formatted as a data directory yet", path = path.display())]
    NotFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// `meta.properties` is not what a broker writes.
    #[error(
        "{path} cannot be read as the identity of a data directory ({reason}): restore it from a backup, or give an empty directory",
        path = path.display()
    )]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop that broker, or give another directory", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The user that the broker runs as may not write there.
    #[error(
        "no permission to write to {path}: give the user that the broker runs as read and write permission there",
        path = path.display()
    )]
    NoPermission {
        /// The file or directory.
        path: PathBuf,
    },
    /// There is no room left.
    #[error("the file system of {path} is full: free some space, then start again", path = path.display())]
    Full {
        /// The file or directory.
        path: PathBuf,
    },
    /// Anything else that the file system refuses.
    #[error("cannot use {path} as a data directory: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn because(path: &Path) -> impl Fn(io::Error) -> VolumeError + '_ {
    move |source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                VolumeError::NoPermission { path }
            }
            _ if is_full(&source) => VolumeError::Full { path },
            _ => VolumeError::Io { path, source },
        }
    }
}

/// How a volume is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    /// What is kept free: with less, nothing is appended. `None`: a hundredth of the file system, but at least
    /// 64 MiB and at most 1 GiB.
    pub reserve_bytes: Option<u64>,
}

/// What was found when the volume was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The last broker here stopped cleanly: its logs need not be looked through.
    pub clean: bool,
    /// The partitions that lie here.
    pub partitions: Vec<PartitionDir>,
    /// Copies of partitions that were being moved here (KIP-113).
    pub copies: Vec<PartitionDir>,
    /// Where logs begin.
    pub start_offsets: Offsets,
    /// Up to where logs were synced.
    pub recovery_points: Offsets,
    /// Up to where logs were known to be committed.
    pub high_watermarks: Offsets,
}

/// A directory of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// The topic's name, as the directory's name has it.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The directory.
    pub path: PathBuf,
    /// The topic's id, if the directory says it.
    pub topic_id: Option<Uuid>,
}

/// Whether records can be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// They can.
    Writable,
    /// They cannot until there is more space; everything can be read.
    Full {
        /// What is free.
        free_bytes: u64,
        /// What has to be free.
        reserve_bytes: u64,
    },
    /// The disk has failed: the volume is offline until the broker is started again.
    Failed {
        /// What went wrong first.
        reason: String,
    },
}

/// A data directory in use. It is locked as long as this lives.
pub struct Volume {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: Identity,
    reserve_bytes: u64,
    state: Mutex<State>,
    _lock: Lock,
}

impl Volume {
    /// Reads whose a directory is. `None` if it is empty or not there. Changes nothing.
    ///
    /// # Errors
    /// [`VolumeError::NotEmpty`], [`VolumeError::BadIdentity`], and those of the file system.
    pub fn inspect(disk: &dyn Disk, path: &Path) -> Result<Option<Identity>, VolumeError> {
        let file = path.join(META_PROPERTIES);
        if let Some(bytes) = checkpoint::read(disk, &file).map_err(because(&file))? {
            let whole = checkpoint::unseal(&bytes).ok_or_else(|| "its checksum does not fit".to_owned());
            return whole
                .and_then(parse_identity)
                .map(Some)
                .map_err(|reason| VolumeError::BadIdentity { path: file, reason });
        }
        let entries = match disk.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(because(path))?,
        };
        // What a file system has in its root, what a lock leaves behind, and what was written when formatting stopped.
        let harmless = ["lost+found", LOCK, "meta.properties.tmp"];
        if entries
            .iter()
            .any(|entry| !harmless.contains(&entry.name.as_str()))
        {
            return Err(VolumeError::NotEmpty {
                path: path.to_owned(),
            });
        }
        Ok(None)
    }

    /// Makes an empty directory a volume, creating it if it is not there.
    ///
    /// # Errors
    /// [`VolumeError::NotEmpty`] if it is not empty, formatted already or not, and those of the file system.
    pub fn format(disk: &dyn Disk, path: &Path, identity: &Identity) -> Result<(), VolumeError> {
        if Self::inspect(disk, path)?.is_some() {
            return Err(VolumeError::NotEmpty {
                path: path.to_owned(),
            });
        }
        disk.create_dir(path).map_err(because(path))?;
        let Identity {
            cluster_id,
            broker_id,
            directory_id,
        } = identity;
        let text =
            format!("version=1\ncluster.id={cluster_id}\nnode.id={broker_id}\ndirectory.id={directory_id}\n");
        let file = path.join(META_PROPERTIES);
        checkpoint::replace(disk, &file, checkpoint::seal(&text).as_bytes()).map_err(because(&file))?;
        match path.parent() {
            Some(parent) => disk.sync_dir(parent).map_err(because(parent)),
            None => Ok(()),
        }
    }

    /// Takes a volume into use: holds its identity against what is expected, locks it, and takes stock. The mark of
    /// a clean stop is removed, durably, before any log is loaded; what was deleted is cleared away.
    ///
    /// # Errors
    /// Each of [`VolumeError`]. Nothing was changed where it is another's.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cluster_id: &str,
        broker_id: BrokerId,
        options: VolumeOptions,
    ) -> Result<(Self, Opened), VolumeError> {
        let identity = Self::inspect(&**disk, path)?;
        let identity = identity.ok_or_else(|| VolumeError::NotFormatted {
            path: path.to_owned(),
        })?;
        if identity.cluster_id != cluster_id {
            let (expected, found) = (cluster_id.to_owned(), identity.cluster_id);
            return Err(VolumeError::OtherCluster {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        if identity.broker_id != broker_id {
            let (expected, found) = (broker_id, identity.broker_id);
            return Err(VolumeError::OtherBroker {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        let file = path.join(LOCK);
        let lock = disk.lock(&file).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => VolumeError::InUse {
                path: path.to_owned(),
            },
            _ => because(&file)(error),
        })?;
        let space = disk.space(path).map_err(because(path))?;
        let share = (space.total_bytes / 100).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let volume = Self {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            identity,
            reserve_bytes: options.reserve_bytes.unwrap_or(share),
            state: Mutex::new(State::Writable),
            _lock: lock,
        };
        let opened = volume.take_stock()?;
        volume.check_space();
        Ok((volume, opened))
    }

    fn take_stock(&self) -> Result<Opened, VolumeError> {
        let disk = &*self.disk;
        let mark = self.path.join(CLEAN_SHUTDOWN);
        let clean = match disk.remove(&mark) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(because(&mark)(error)),
        };
        // What a killed broker left is in memory only, maybe: logs count what they find as safe.
        let synced = if clean {
            disk.sync_dir(&self.path)
        } else {
            disk.sync_all(&self.path)
        };
        synced.map_err(because(&self.path))?;
        let (mut partitions, mut copies) = (Vec::new(), Vec::new());
        for entry in disk.list(&self.path).map_err(because(&self.path))? {
            let path = self.path.join(&entry.name);
            if !entry.is_dir {
                continue;
            }
            if is_deleted_name(&entry.name) {
                disk.remove_dir(&path).map_err(because(&path))?;
            } else if let Some(named) = parse_partition(&entry.name) {
                partitions.push(self.partition_found(named, path)?);
            } else if let Some(named) = parse_copy(&entry.name) {
                copies.push(self.partition_found(named, path)?);
            }
        }
        Ok(Opened {
            clean,
            partitions,
            copies,
            start_offsets: self.read_offsets(START_OFFSETS)?,
            recovery_points: self.read_offsets(RECOVERY_POINTS)?,
            high_watermarks: self.read_offsets(HIGH_WATERMARKS)?,
        })
    }

    fn partition_found(
        &self,
        (topic, partition): (String, PartitionIndex),
        path: PathBuf,
    ) -> Result<PartitionDir, VolumeError> {
        let topic_id = match read_topic_id(&*self.disk, &path) {
            Ok(topic_id) => topic_id,
            Err(Error::Io { path, source, .. }) => return Err(because(&path)(source)),
            Err(_) => None,
        };
        Ok(PartitionDir {
            topic,
            partition,
            path,
            topic_id,
        })
    }

    /// A checkpoint that is damaged counts as missing: logs are looked through from their beginning then.
    fn read_offsets(&self, name: &str) -> Result<Offsets, VolumeError> {
        let path = self.path.join(name);
        match checkpoint::read_offsets(&*self.disk, &path) {
            Ok(offsets) => Ok(offsets),
            Err(ReadError::Io(error)) => Err(because(&path)(error)),
            Err(ReadError::Damaged) => {
                tracing::warn!(path = %path.display(), "the checkpoint is damaged and counts as missing");
                Ok(Offsets::new())
            }
        }
    }

    fn write_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), Error> {
        let path = self.path.join(name);
        let written = checkpoint::write_offsets(&*self.disk, &path, offsets);
        error::During::during(written, "write", &path)
    }

    /// Saves where logs begin, durably: those whose start is not that of their first segment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_start_offsets(&self, offsets: &Offsets) -> Result<(), Error> {
        self.write_offsets(START_OFFSETS, offsets)
    }

    /// Saves up to where logs are synced, durably.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_recovery_points(&self, offsets: &Offsets) -> Result<(), Error> {
        self.write_offsets(RECOVERY_POINTS, offsets)
    }

    /// Saves up to where logs are known to be committed, durably.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_high_watermarks(&self, offsets: &Offsets) -> Result<(), Error> {
        self.write_offsets(HIGH_WATERMARKS, offsets)
    }

    /// Notes, durably, that the broker stops cleanly. Every log has been closed, and every checkpoint written; all of
    /// it is synced first.
    ///
    /// # Errors
    /// Those of the disk. The next start looks through the logs then.
    pub fn mark_clean(&self) -> Result<(), Error> {
        self.sync()?;
        let path = self.path.join(CLEAN_SHUTDOWN);
        error::During::during(
            checkpoint::replace(&*self.disk, &path, b"{\"version\":0}"),
            "write",
            &path,
        )
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk that it lies on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// What is kept free: with less, nothing is appended.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    /// Where the log of a partition lies or would lie.
    #[must_use]
    pub fn partition_dir(&self, topic: &str, partition: PartitionIndex) -> PathBuf {
        self.path.join(format!("{topic}-{partition}"))
    }

    /// Whether records can be appended.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Whether records can be appended.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        *self.state.lock() == State::Writable
    }

    /// Looks how much space is left: below the reserve the volume becomes read-only, and with an eighth more than it
    /// comes back. Gives the state that holds now. To be called every second or so.
    pub fn check_space(&self) -> State {
        let space = self.disk.space(&self.path);
        let mut state = self.state.lock();
        match (&*state, space) {
            (State::Failed { .. }, _) => {}
            (_, Err(error)) => {
                let reason = error.to_string();
                self.change(&mut state, State::Failed { reason });
            }
            (was, Ok(space)) => {
                let margin = if *was == State::Writable {
                    0
                } else {
                    self.reserve_bytes / 8
                };
                let next = if space.free_bytes < self.reserve_bytes + margin {
                    State::Full {
                        free_bytes: space.free_bytes,
                        reserve_bytes: self.reserve_bytes,
                    }
                } else {
                    State::Writable
                };
                self.change(&mut state, next);
            }
        }
        state.clone()
    }

    /// Makes everything durable that was written to any file on the file system, names included. Blocks.
    ///
    /// # Errors
    /// [`Error::Sync`].
    pub fn sync(&self) -> Result<(), Error> {
        error::During::during_sync(self.disk.sync_all(&self.path), &self.path)
    }

    /// Takes note of what went wrong with a log: the volume becomes read-only, or goes offline for good, as the
    /// error says.
    pub fn note(&self, error: &Error) -> Severity {
        let severity = error.severity();
        let mut state = self.state.lock();
        match severity {
            Severity::Log => {}
            Severity::VolumeFull if *state == State::Writable => {
                let full = State::Full {
                    free_bytes: 0,
                    reserve_bytes: self.reserve_bytes,
                };
                self.change(&mut state, full);
            }
            Severity::VolumeFull => {}
            Severity::VolumeFailed => {
                if !matches!(*state, State::Failed { .. }) {
                    let reason = error.to_string();
                    self.change(&mut state, State::Failed { reason });
                }
            }
        }
        severity
    }

    /// Goes over to another state, and says so once.
    fn change(&self, state: &mut State, next: State) {
        let volume = self.path.display();
        match (&*state, &next) {
            (State::Full { .. }, State::Full { .. }) => {}
            (
                _,
                State::Full {
                    free_bytes,
                    reserve_bytes,
                },
            ) => tracing::error!(
                %volume, free_bytes, reserve_bytes,
                "the volume is full: no records are taken until there is room, and all can be read. Make it larger, shorten \
                 retention, or delete topics"
            ),
            (State::Full { .. }, State::Writable) => {
                tracing::info!(%volume, "there is room again: records are taken")
            }
            _ => {}
        }
        *state = next;
    }
}

fn parse_identity(text: &str) -> Result<Identity, String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let properties: Vec<(&str, &str)> = lines
        .map(|line| {
            line.split_once('=')
                .ok_or_else(|| format!("`{line}` is not a property"))
        })
        .collect::<Result<_, _>>()?;
    let get = |name: &str| {
        let found = properties.iter().find(|(key, _)| key.trim() == name);
        found
            .map(|(_, value)| value.trim())
            .ok_or_else(|| format!("`{name}` is missing"))
    };
    let wrong = |name: &str| format!("`{name}` is not what it should be");
    if get("version")? != "1" {
        return Err("only version 1 is known".to_owned());
    }
    Ok(Identity {
        cluster_id: get("cluster.id")?.to_owned(),
        broker_id: BrokerId(get("node.id")?.parse().map_err(|_| wrong("node.id"))?),
        directory_id: get("directory.id")?.parse().map_err(|_| wrong("directory.id"))?,
    })
}

#[cfg(test)]
mod tests;
