//! Small files that are replaced as a whole: the old content or the new one, never half of either.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use flotilla_protocol::{Offset, PartitionIndex};

use super::disk::Disk;

/// More than a checkpoint of 100,000 partitions with the longest names. Longer files are none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that is there but cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its content is damaged")]
    Damaged,
}

/// Writes `content` so that `path` holds all of it or is as it was, also after a loss of power.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    write_whole(disk, path, content, Durability::Synced)
}

/// Whether a file that was replaced survives a loss of power at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// It does.
    Synced,
    /// Only once somebody syncs the whole file system.
    Later,
}

pub(super) fn write_whole(
    disk: &dyn Disk,
    path: &Path,
    content: &[u8],
    durability: Durability,
) -> io::Result<()> {
    let written = path.with_extension(match path.extension() {
        Some(extension) => format!("{}.tmp", extension.to_string_lossy()),
        None => "tmp".to_owned(),
    });
    disk.create(&written)?;
    disk.write_at(&written, 0, content)?;
    if durability == Durability::Later {
        return disk.rename(&written, path);
    }
    disk.sync(&written)?;
    disk.rename(&written, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

/// All of a small file. `None` if there is none.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let size_bytes = match disk.stat(path) {
        Ok(stat) => stat.size_bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size_bytes > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too large to be a checkpoint",
        ));
    }
    Ok(Some(disk.read_at(path, 0, size_bytes as usize)?.to_vec()))
}

/// What the last line of a sealed text begins with.
const SEAL: &str = "crc32c=";

/// A small text with a line at its end that has the CRC-32C of all before it: one changed letter would otherwise make it speak of
/// another topic, or another disk.
pub(super) fn seal(text: &str) -> String {
    format!("{text}{SEAL}{:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// What [`seal`] wrote, without that line; a text without one is taken as it is. `None` if it is not what was written.
pub(super) fn unseal(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let Some(at) = text
        .rfind(SEAL)
        .filter(|at| *at == 0 || text[..*at].ends_with('\n'))
    else {
        return Some(text);
    };
    let crc = u32::from_str_radix(text[at + SEAL.len()..].strip_suffix('\n')?, 16).ok()?;
    (crc == crc32c::crc32c(&bytes[..at])).then_some(&text[..at])
}

/// Lines in Kafka's layout (a version, a count, the lines), followed by a line with the CRC-32C of all before it:
/// a flipped digit would otherwise be an offset like any other.
pub(super) fn write_lines(
    disk: &dyn Disk,
    path: &Path,
    lines: &[String],
    durability: Durability,
) -> io::Result<()> {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("crc32c {crc:08x}\n"));
    write_whole(disk, path, text.as_bytes(), durability)
}

/// What [`write_lines`] wrote. `None` if there is no such file.
pub(super) fn read_lines(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<String>>, ReadError> {
    let Some(bytes) = read(disk, path)? else {
        return Ok(None);
    };
    parse_lines(&bytes).map(Some).ok_or(ReadError::Damaged)
}

fn parse_lines(bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let seal = text.trim_end_matches('\n').rfind('\n')? + 1;
    let crc = text[seal..].strip_prefix("crc32c ")?.strip_suffix('\n')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(&bytes[..seal]) {
        return None;
    }
    let mut lines = text[..seal].lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    (lines.len() == count).then_some(lines)
}

/// One offset for each of many partitions, by topic name.
pub type Offsets = BTreeMap<(String, PartitionIndex), Offset>;

pub(super) fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> io::Result<()> {
    let lines: Vec<String> = offsets
        .iter()
        .map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"))
        .collect();
    write_lines(disk, path, &lines, Durability::Synced)
}

/// No file is no offsets.
pub(super) fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<Offsets, ReadError> {
    let lines = read_lines(disk, path)?.unwrap_or_default();
    let parse = |line: &String| {
        let mut words = line.split(' ');
        let topic = words.next()?.to_owned();
        let partition = PartitionIndex(words.next()?.parse().ok()?);
        let offset = Offset(words.next()?.parse().ok().filter(|offset| *offset >= 0)?);
        words.next().is_none().then_some(((topic, partition), offset))
    };
    lines
        .iter()
        .map(|line| parse(line).ok_or(ReadError::Damaged))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SimDisk;

    fn offsets() -> Offsets {
        BTreeMap::from([
            (("orders".to_owned(), PartitionIndex(0)), Offset(5)),
            (("orders".to_owned(), PartitionIndex(1)), Offset(i64::MAX)),
        ])
    }

    #[test]
    fn offsets_read_back_and_a_crash_leaves_old_or_new() {
        let path = Path::new("/v/recovery-point-offset-checkpoint");
        for seed in 0..32 {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("/v")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            assert_eq!(read_offsets(&disk, path).unwrap(), Offsets::new());
            write_offsets(&disk, path, &offsets()).unwrap();
            disk.create(&path.with_extension("tmp")).unwrap();
            disk.write_at(&path.with_extension("tmp"), 0, b"half").unwrap();
            disk.crash(seed);
            assert_eq!(read_offsets(&disk, path).unwrap(), offsets());
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let disk = SimDisk::new();
        let path = Path::new("/checkpoint");
        write_offsets(&disk, path, &offsets()).unwrap();
        let good = read(&disk, path).unwrap().unwrap();
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert_eq!(parse_lines(&flipped), None, "byte {at}");
            assert_eq!(parse_lines(&good[..at]), None, "cut at {at}");
        }
        assert!(parse_lines(&good).is_some());
    }
}
