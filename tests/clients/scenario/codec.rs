//! Which codec a topic's batches are stored in, from the files of the brokers.

use std::path::PathBuf;

use crate::fleet::Fleet;

/// In a batch: its length without what stands up to there, and the low byte of its attributes.
const LENGTH_AT: usize = 8;
const BEHIND_LENGTH: usize = 12;
const ATTRIBUTES_AT: usize = 22;
const CODEC_MASK: u8 = 0b111;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Every batch of the topic, on every broker, is in that codec.
pub fn assert_stored(fleet: &Fleet, topic: &str, codec: &str) {
    let mut batches = 0;
    for segment in segments(fleet, topic) {
        let bytes = std::fs::read(&segment).expect("read a segment");
        let mut rest = &bytes[..];
        // Segments may be preallocated: zeros follow the last batch.
        while rest.len() > ATTRIBUTES_AT && rest[LENGTH_AT..BEHIND_LENGTH] != [0; 4] {
            let found = CODECS[usize::from(rest[ATTRIBUTES_AT] & CODEC_MASK)];
            assert_eq!(found, codec, "in {}", segment.display());
            let length: [u8; 4] = rest[LENGTH_AT..BEHIND_LENGTH].try_into().expect("four bytes");
            rest = &rest[BEHIND_LENGTH + u32::from_be_bytes(length) as usize..];
            batches += 1;
        }
    }
    assert!(batches > 0, "no batch of {topic} is stored");
}

fn segments(fleet: &Fleet, topic: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![fleet.data().join("brokers")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("list a directory").flatten() {
            let path = entry.path();
            let of_topic = directory
                .file_name()
                .and_then(|name| name.to_str()?.rsplit_once('-'))
                .is_some_and(|(name, _)| name == topic);
            if path.is_dir() {
                directories.push(path);
            } else if of_topic && path.extension().is_some_and(|extension| extension == "log") {
                found.push(path);
            }
        }
    }
    found
}
