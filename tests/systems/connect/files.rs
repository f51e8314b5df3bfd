//! The file that lines are read from, and the one that they are written to.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::eventually::eventually;

const WITHIN: Duration = Duration::from_secs(90);

/// Both files; they go with the value.
pub struct Files {
    directory: tempfile::TempDir,
    lines: AtomicUsize,
}

impl Files {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            lines: AtomicUsize::new(0),
        }
    }

    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source.txt")
    }

    pub fn sink(&self) -> PathBuf {
        self.directory.path().join("sink.txt")
    }

    /// Writes so many lines more, all different.
    pub fn append(&self, count: usize) {
        let from = self.lines.fetch_add(count, Ordering::Relaxed);
        let lines: String = (from..from + count).map(|n| format!("line {n}\n")).collect();
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.source());
        file.and_then(|mut file| file.write_all(lines.as_bytes()))
            .expect("write lines");
    }

    /// All that was written to the source.
    pub fn written(&self) -> String {
        read(&self.source())
    }

    /// All that came to the sink.
    pub fn copied(&self) -> String {
        read(&self.sink())
    }

    /// Waits until the sink is as the source.
    pub fn wait_until_copied(&self) {
        let written = self.written();
        eventually(WITHIN, "the sink to be as the source", || {
            let copied = self.copied();
            assert!(
                written.starts_with(&copied),
                "the sink has lines that the source has not there: {} lines, the last one {:?}",
                copied.lines().count(),
                copied.lines().last()
            );
            let (copied, written) = (copied.lines().count(), written.lines().count());
            (copied == written)
                .then_some(())
                .ok_or(format!("{copied} of {written} lines"))
        });
    }
}

/// The whole lines of a file that may not be there yet.
fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].to_owned()
}
