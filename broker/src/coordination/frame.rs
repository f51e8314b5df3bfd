//! Frames on disk: length, CRC-32C, payload; and small files that are replaced as a whole.

use std::io;
use std::path::Path;

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::log::Disk;

/// Length and checksum before each payload.
pub const FRAME_HEADER_BYTES: usize = 8;
/// No payload is larger; a length beyond it is damage.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Replaces a file as a whole: after a crash either the old one or the new one is there.
///
/// # Errors
/// Those of the file system.
pub fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    disk.create(&new)?;
    disk.write_at(&new, 0, bytes)?;
    disk.sync(&new)?;
    disk.rename(&new, &path)?;
    disk.sync_dir(dir)
}

/// Appends a frame: length, checksum, payload.
pub fn put_frame(bytes: &mut Vec<u8>, payload: &[u8]) {
    bytes.put_u32_le(payload.len() as u32);
    bytes.put_u32_le(crc32c::crc32c(payload));
    bytes.put_slice(payload);
}

/// Takes the next frame; `None` when there is no whole and undamaged one.
pub fn next_frame(bytes: &mut Bytes) -> Option<Bytes> {
    let mut header = bytes.get(..FRAME_HEADER_BYTES)?;
    let (length, checksum) = (header.get_u32_le() as usize, header.get_u32_le());
    let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(length)?)?;
    // An empty frame would fit a file that a crash left full of zeroes.
    if length == 0 || length > PAYLOAD_BYTES_MAX || crc32c::crc32c(payload) != checksum {
        return None;
    }
    let payload = bytes.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length);
    bytes.advance(FRAME_HEADER_BYTES + length);
    Some(payload)
}
