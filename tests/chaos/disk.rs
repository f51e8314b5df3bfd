//! A broker's disk: a small ext4 in a file, mounted where only the run sees it. It can be filled, and it can be damaged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::chance::Chance;
use crate::switch::run;

/// Much more than a run writes; the file is sparse.
const SIZE_BYTES: u64 = 2 << 30;

/// What fills it up.
const BALLAST: &str = "ballast";

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A segment of records.
    Segment,
    /// An offset or time index.
    Index,
    /// What a log or a volume wrote down beside the records: epochs, offsets, producers, whose it is.
    Checkpoint,
    /// What the quorum wrote down: its log, its snapshots, the vote.
    Metadata,
}

impl Target {
    fn takes(self, path: &Path) -> bool {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let of_quorum = path.components().any(|part| part.as_os_str() == "metadata");
        match self {
            Self::Metadata => of_quorum,
            _ if of_quorum => false,
            Self::Segment => extension == "log",
            Self::Index => matches!(extension, "index" | "timeindex"),
            Self::Checkpoint => {
                name.ends_with("checkpoint")
                    || extension == "snapshot"
                    || ["meta.properties", "partition.metadata"].contains(&name)
            }
        }
    }
}

/// A mounted disk.
pub struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Makes it, and mounts it at `mount`.
    pub fn make(image: &Path, mount: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(mount)?;
        File::create(image)?.set_len(SIZE_BYTES)?;
        let (image, at) = (image.display().to_string(), mount.display().to_string());
        run(
            "mkfs.ext4",
            &[
                "-q",
                "-m",
                "0",
                "-E",
                "lazy_itable_init=1,lazy_journal_init=1",
                &image,
            ],
        )?;
        run("mount", &["-o", "loop", &image, &at])
            .context("cannot mount a file as a disk: this needs loop devices")?;
        Ok(Self {
            mount: mount.to_owned(),
        })
    }

    /// Where the broker keeps its data.
    pub fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Leaves so many bytes free.
    pub fn fill(&self, leave_bytes: u64) -> anyhow::Result<()> {
        let space = rustix::fs::statvfs(&self.mount)?;
        let free = space.f_bavail * space.f_frsize;
        let ballast = File::create(self.mount.join(BALLAST))?;
        let bytes = free.saturating_sub(leave_bytes).max(1);
        match rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // What it got stays allocated, and the broker may have taken the rest: the disk is as full as it gets.
            Ok(()) | Err(rustix::io::Errno::NOSPC) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes room again.
    pub fn relieve(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.mount.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Deletes all that the broker had.
    pub fn empty(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.data()).context("cannot delete a broker's data")
    }

    /// Changes one byte of one file, and says where. `None`: there is no such file yet.
    pub fn damage(&self, target: Target, chance: &mut Chance) -> anyhow::Result<Option<String>> {
        let mut files = Vec::new();
        list(&self.data(), &mut files)?;
        files.retain(|path| target.takes(path) && fs::metadata(path).is_ok_and(|found| found.len() > 0));
        files.sort();
        if files.is_empty() {
            return Ok(None);
        }
        let path = chance.one_of(&files);
        // The file may go at any moment, where the broker runs.
        let Ok(file) = File::options().read(true).write(true).open(path) else {
            return Ok(None);
        };
        let at = chance.below(file.metadata()?.len());
        let mut byte = [0];
        if file.read_exact_at(&mut byte, at).is_err() {
            return Ok(None);
        }
        let flipped = byte[0] ^ (1 << chance.below(8));
        file.write_all_at(&[flipped], at)?;
        file.sync_all()?;
        let name = path.strip_prefix(&self.mount).unwrap_or(path);
        Ok(Some(format!(
            "byte {at} of {}: {:#04x} to {flipped:#04x}",
            name.display(),
            byte[0]
        )))
    }

    /// The bytes of all segments of a partition, one after the other.
    pub fn records(&self, partition: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        list(&self.data().join(partition), &mut files)?;
        files.retain(|path| Target::Segment.takes(path));
        files.sort();
        Ok(files)
    }
}

fn list(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // Directories of deleted partitions go while they are listed.
            let _ = list(&path, found);
        } else {
            found.push(path);
        }
    }
    Ok(())
}
