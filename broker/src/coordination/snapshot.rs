//! Snapshots on disk: the image as records, in frames with checksums. The same bytes travel to a voter that is far behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::proto::metadata::{Entry, Record};
use prost::Message as _;
use tokio::sync::watch;

use super::frame::{next_frame, put_frame, replace_file};
use super::raft_log::Error;
use super::wire::Meta;
use crate::log::Disk;
use crate::metadata::Image;

/// Records in one frame.
const CHUNK_RECORDS: usize = 1_000;
const PREFIX: &str = "snapshot-";

/// The snapshots of one voter: the newest one is kept.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    kept: Arc<watch::Sender<Kept>>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All up to this entry; `None`: nothing.
    Upto(Option<u64>),
    /// Nobody knows, since a snapshot could not be kept.
    Unknown,
}

impl Snapshots {
    /// In a directory that exists.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            kept: Arc::new(watch::Sender::new(Kept::Upto(None))),
        }
    }

    /// Waits until a snapshot is on disk that holds everything up to `index`: until then the log must keep it.
    ///
    /// # Errors
    /// When a snapshot could not be kept.
    pub async fn hold(&self, index: u64) -> io::Result<()> {
        let mut kept = self.kept.subscribe();
        let holds = |kept: &Kept| match kept {
            Kept::Upto(upto) => *upto >= Some(index),
            Kept::Unknown => true,
        };
        match kept.wait_for(holds).await.map(|kept| *kept) {
            Ok(Kept::Upto(_)) => Ok(()),
            Ok(Kept::Unknown) | Err(_) => Err(io::Error::other(format!(
                "no snapshot could be kept of the metadata up to entry {index}"
            ))),
        }
    }

    fn note(&self, meta: &Meta) {
        let index = meta.last_log_id.map(|id| id.index);
        self.kept.send_if_modified(|kept| match kept {
            Kept::Upto(upto) if *upto < index => {
                *upto = index;
                true
            }
            Kept::Upto(_) | Kept::Unknown => false,
        });
    }

    /// Keeps a snapshot instead of older ones; it is on disk when this returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
        self.write(meta, bytes).inspect_err(|_| {
            self.kept.send_replace(Kept::Unknown);
        })?;
        self.note(meta);
        Ok(())
    }

    fn write(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
        let name = name_of(meta);
        let header = serde_json::to_vec(meta)?;
        let mut file = Vec::with_capacity(bytes.len() + header.len() + 16);
        put_frame(&mut file, &header);
        file.extend_from_slice(bytes);
        replace_file(self.disk.as_ref(), &self.dir, &name, &file)?;
        for entry in self.disk.list(&self.dir)? {
            if entry.name.starts_with(PREFIX) && entry.name != name {
                self.disk.remove(&self.dir.join(entry.name))?;
            }
        }
        Ok(())
    }

    /// The newest snapshot, if there is one: what is said of it, and its bytes.
    ///
    /// # Errors
    /// When the file system fails or the snapshot is damaged.
    pub fn load(&self) -> Result<Option<(Meta, Bytes)>, Error> {
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let mut names: Vec<String> = self
            .disk
            .list(&self.dir)
            .map_err(io)?
            .into_iter()
            .map(|e| e.name)
            .collect();
        names.retain(|name| name.starts_with(PREFIX) && !name.ends_with(".new"));
        names.sort_unstable();
        let Some(name) = names.pop() else { return Ok(None) };
        let path = self.dir.join(name);
        let size = self.disk.stat(&path).map_err(io)?.size_bytes as usize;
        let mut bytes = self.disk.read_at(&path, 0, size).map_err(io)?;
        let damaged = |what: String| Error::Damaged {
            file: path.clone(),
            what,
        };
        let header = next_frame(&mut bytes).ok_or_else(|| damaged("its checksum does not fit".to_owned()))?;
        let meta: Meta = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
        // Verified here, so that damage is found when the broker starts and not when another voter needs it.
        decode(bytes.clone()).map_err(damaged)?;
        self.note(&meta);
        Ok(Some((meta, bytes)))
    }
}

/// So that names sort by index, then by term.
fn name_of(meta: &Meta) -> String {
    let (index, term) = meta
        .last_log_id
        .map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{PREFIX}{index:020}-{term:020}")
}

/// An image as the bytes of a snapshot: frames of records, then the number of records.
#[must_use]
pub fn encode(image: &Image) -> Vec<u8> {
    let records = image.to_records();
    let mut bytes = Vec::new();
    for chunk in records.chunks(CHUNK_RECORDS) {
        // `term` counts the records of the frame, so that none is ever empty.
        let frame = Entry {
            term: chunk.len() as u64,
            records: chunk.to_vec(),
        };
        put_frame(&mut bytes, &frame.encode_to_vec());
    }
    put_frame(&mut bytes, format!("{}", records.len()).as_bytes());
    bytes
}

/// The image that the bytes of a snapshot hold.
///
/// # Errors
/// What is wrong with them: damage, or a record that this broker does not understand.
pub fn decode(mut bytes: Bytes) -> Result<Image, String> {
    let mut image = Image::default();
    let mut count = 0;
    loop {
        let frame =
            next_frame(&mut bytes).ok_or("it ends before its end mark, or a checksum does not fit")?;
        if bytes.is_empty() {
            let expected = std::str::from_utf8(&frame)
                .ok()
                .and_then(|text| text.parse::<usize>().ok());
            return if expected == Some(count) {
                Ok(image)
            } else {
                Err(format!(
                    "it holds {count} records, which its end mark does not confirm"
                ))
            };
        }
        let chunk = Entry::decode(frame).map_err(|error| error.to_string())?;
        count += chunk.records.len();
        fold(&mut image, &chunk.records)?;
    }
}

fn fold(image: &mut Image, records: &[Record]) -> Result<(), String> {
    image.fold_all(records).map_err(|unknown| unknown.to_string())
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::metadata::{FeatureLevel, record};

    use super::*;
    use crate::log::RealDisk;

    fn image(features: usize) -> Image {
        let records: Vec<Record> = (0..features)
            .map(|number| {
                let level = FeatureLevel {
                    name: format!("feature-{number}"),
                    level: 1,
                };
                Record {
                    record: Some(record::Record::FeatureLevel(level)),
                }
            })
            .collect();
        let mut image = Image::default();
        image.fold_all(&records).unwrap();
        image
    }

    #[test]
    fn a_snapshot_reads_back_as_the_image() {
        for features in [0, 1, CHUNK_RECORDS, CHUNK_RECORDS + 1] {
            let image = image(features);
            assert_eq!(decode(encode(&image).into()), Ok(image));
        }
    }

    #[test]
    fn a_damaged_or_shortened_snapshot_is_refused() {
        let bytes = encode(&image(1_500));
        for length in [0, 1, 100, bytes.len() - 1, bytes.len() - 12] {
            assert!(
                decode(Bytes::copy_from_slice(&bytes[..length])).is_err(),
                "{length}"
            );
        }
        let mut damaged = bytes.clone();
        damaged[500] ^= 1;
        assert!(decode(damaged.into()).is_err());
    }

    #[test]
    fn the_newest_snapshot_replaces_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(Arc::new(RealDisk::new(8)), dir.path());
        assert_eq!(snapshots.load().unwrap(), None);
        let first = Meta {
            snapshot_id: "a".to_owned(),
            ..Meta::default()
        };
        snapshots.save(&first, &encode(&image(1))).unwrap();
        let id = openraft::LogId::new(openraft::CommittedLeaderId::new(2, Default::default()), 7);
        let second = Meta {
            last_log_id: Some(id),
            snapshot_id: "b".to_owned(),
            ..Meta::default()
        };
        snapshots.save(&second, &encode(&image(2))).unwrap();
        assert_eq!(
            snapshots.load().unwrap(),
            Some((second, encode(&image(2)).into()))
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
