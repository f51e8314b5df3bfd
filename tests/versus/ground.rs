//! The directory that contenders run in. It goes with the value, on signals, and, where neither was possible, with the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::apache::process;
use crate::memory;

const PREFIX: &str = "run-";
/// statfs(2): a file system in memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// What a program says that was ended by Ctrl-C, as shells count.
const INTERRUPTED: i32 = 130;

pub struct Ground {
    directory: PathBuf,
}

impl Ground {
    /// A directory of this process's own below `root`, which must be on a disk.
    pub fn take(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let root = fs::canonicalize(root)?;
        anyhow::ensure!(
            rustix::fs::statfs(&root)?.f_type as i64 != TMPFS_MAGIC,
            "{} is in memory: brokers write to a disk; name another place with --directory",
            root.display()
        );
        sweep(&root)?;
        let directory = root.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&directory)?;
        clear_on_signals(directory.clone())?;
        Ok(Self { directory })
    }

    /// An empty directory.
    pub fn fresh(&self) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join("contender");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        Ok(directory)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes what programs left that were killed.
fn sweep(root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn clear_on_signals(directory: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        process::kill_all_for_good();
        memory::give_back();
        // A process that was killed may still write for a moment.
        for _ in 0..50 {
            if fs::remove_dir_all(&directory).is_ok() || !directory.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("versus: interrupted");
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
