//! Notices edits. Modification times and sizes of a few files cost nothing to look at a few times a second, on every file
//! system, whatever editor writes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::manifests;

/// How often the files are looked at.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// The files of a directory as they are at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Fingerprint {
    /// Of the manifests at `path`.
    pub fn of(path: &Path) -> Self {
        let files = manifests::files(path).unwrap_or_default();
        Self(
            files
                .into_iter()
                .map(|file| {
                    let seen = std::fs::metadata(&file)
                        .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
                        .ok();
                    (file, seen)
                })
                .collect(),
        )
    }
}

/// Follows a directory. An edit counts once the files have been the same twice in a row: editors write in several steps.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    followed: Fingerprint,
    seen: Fingerprint,
}

impl Watch {
    /// From the state of the directory now, which must be taken before the manifests are read.
    pub fn new(path: &Path) -> Self {
        let now = Fingerprint::of(path);
        Self {
            path: path.to_owned(),
            followed: now.clone(),
            seen: now,
        }
    }

    /// Whether there is an edit to follow. To be asked every [`INTERVAL`].
    pub fn changed(&mut self) -> bool {
        let now = Fingerprint::of(&self.path);
        let settled = now == self.seen;
        self.seen = now;
        if settled && self.seen != self.followed {
            self.followed = self.seen.clone();
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_noticed_once_it_has_settled_and_only_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, "a: 1").unwrap();
        let mut watch = Watch::new(directory.path());
        assert!(!watch.changed());
        std::fs::write(&file, "a: 12").unwrap();
        assert!(!watch.changed(), "just written");
        assert!(watch.changed());
        assert!(!watch.changed());
        std::fs::write(directory.path().join("b.txt"), "no manifest").unwrap();
        assert!(!watch.changed());
        assert!(!watch.changed());
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.changed());
        assert!(watch.changed());
    }
}
