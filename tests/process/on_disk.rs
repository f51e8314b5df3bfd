//! What lies in the directories of a fleet's brokers, read without them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flotilla_protocol::records::{
    DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Origin, Records, check, decompress, parse_batches,
};

/// Offset and value of each record, by key.
pub type Table = BTreeMap<String, Vec<(i64, String)>>;

/// The directories of a topic's replicas, by broker and partition.
pub fn replicas(data: &Path, topic: &str) -> BTreeMap<(i64, i32), PathBuf> {
    let mut found = BTreeMap::new();
    let brokers = std::fs::read_dir(data.join("brokers"))
        .into_iter()
        .flatten()
        .flatten();
    for broker in brokers {
        let id = broker.file_name().to_string_lossy().parse();
        let (Ok(id), Ok(entries)) = (id, std::fs::read_dir(broker.path().join("data"))) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let partition = name.rsplit_once('-').filter(|(of, _)| *of == topic);
            if let Some(partition) = partition.and_then(|(_, partition)| partition.parse().ok()) {
                found.insert((id, partition), entry.path());
            }
        }
    }
    found
}

/// Names of the files in a directory, as far as it is there.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Whether a broker is writing a compacted segment of the topic at this moment.
pub fn is_compacting(data: &Path, topic: &str, broker: i64) -> bool {
    let of_broker = replicas(data, topic)
        .into_iter()
        .filter(|((id, _), _)| *id == broker);
    of_broker
        .flat_map(|(_, dir)| names(&dir))
        .any(|name| name.ends_with(".cleaned"))
}

/// Bytes of all segments in a directory.
pub fn size_bytes(dir: &Path) -> u64 {
    let sizes = names(dir).into_iter().filter(|name| name.ends_with(".log"));
    sizes
        .filter_map(|name| std::fs::metadata(dir.join(name)).ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// All records in a directory. An error where it is not a whole log, as while a segment is being replaced.
pub fn table(dir: &Path) -> Result<Table, String> {
    let mut table = Table::new();
    let mut next = 0;
    for name in names(dir).into_iter().filter(|name| name.ends_with(".log")) {
        let bytes = std::fs::read(dir.join(&name)).map_err(|error| format!("{name}: {error}"))?;
        for batch in parse_batches(&bytes) {
            let (_, header, batch) = batch.map_err(|error| format!("{name}: {error}"))?;
            check(batch, Origin::Log).map_err(|error| format!("{name}: {error}"))?;
            if header.base_offset.0 < next {
                return Err(format!("{name}: offset {} comes again", header.base_offset));
            }
            next = header.next_offset().0;
            let payload = decompress(&header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX);
            let payload = payload.map_err(|error| format!("{name}: {error}"))?;
            for record in Records::new(&header, &payload) {
                let record = record.map_err(|error| format!("{name}: {error}"))?;
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let found = (record.offset.0, text(record.value));
                table.entry(text(record.key)).or_default().push(found);
            }
        }
    }
    Ok(table)
}
