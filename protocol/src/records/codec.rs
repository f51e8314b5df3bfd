//! The four codecs, with a limit on what they may grow to.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::{BatchError, BatchHeader, Compression};

/// What a payload may grow to unless the caller says less. Kafka has no such limit; a batch of the default
/// `max.message.bytes` that holds more is an attack, not data.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The xerial library's mark, its version and the oldest version that can read it.
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
const XERIAL_MARK_BYTES: usize = 8;
/// Size of the chunks that the xerial library cuts its input into.
const XERIAL_CHUNK_BYTES: usize = 32 * 1024;
/// Three bytes of snappy give at most 64 bytes of data.
const SNAPPY_RATIO_MAX: usize = 22;
/// The largest window that zstd's ordinary levels ask for, as the exponent of a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The records of a batch, as [`super::Records`] reads them. Borrows where nothing is compressed.
///
/// # Errors
/// [`BatchError::UnknownCompression`], and those of [`expand`].
pub fn decompress<'a>(
    header: &BatchHeader,
    payload: &'a [u8],
    bytes_max: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    expand(header.compression()?, payload, bytes_max)
}

/// What was compressed, as it was before. Borrows where nothing is compressed.
///
/// # Errors
/// [`BatchError::Compression`] where the payload is broken, and [`BatchError::DecompressedTooLarge`] beyond `bytes_max`.
pub fn expand(
    compression: Compression,
    payload: &[u8],
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, BatchError> {
    let broken = |error: io::Error| BatchError::Compression(compression, error.to_string());
    let out = match compression {
        Compression::None if payload.len() > bytes_max => {
            return Err(BatchError::DecompressedTooLarge(bytes_max));
        }
        Compression::None => return Ok(Cow::Borrowed(payload)),
        Compression::Gzip => drain(flate2::read::MultiGzDecoder::new(payload), bytes_max),
        Compression::Snappy => return unsnap(payload, bytes_max).map(Cow::Owned),
        Compression::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(payload), bytes_max),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(payload).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            drain(decoder, bytes_max)
        }),
    }
    .map_err(broken)?;
    if out.len() > bytes_max {
        return Err(BatchError::DecompressedTooLarge(bytes_max));
    }
    Ok(Cow::Owned(out))
}

/// Reads one byte more than allowed at most: that byte tells too much from just enough.
fn drain(reader: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

fn unsnap(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !payload.starts_with(&XERIAL_HEADER[..XERIAL_MARK_BYTES]) {
        unsnap_raw(payload, &mut out, bytes_max)?;
        return Ok(out);
    }
    let broken = |reason: &str| BatchError::Compression(Compression::Snappy, reason.to_owned());
    let mut rest = payload
        .get(XERIAL_HEADER.len()..)
        .ok_or_else(|| broken("the xerial header is cut off"))?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk()
            .ok_or_else(|| broken("a chunk's length is cut off"))?;
        let (chunk, after) = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| broken("a chunk is cut off"))?;
        unsnap_raw(chunk, &mut out, bytes_max)?;
        rest = after;
    }
    Ok(out)
}

fn unsnap_raw(chunk: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    let broken = |error: snap::Error| BatchError::Compression(Compression::Snappy, error.to_string());
    let length = snap::raw::decompress_len(chunk).map_err(broken)?;
    if length > chunk.len().saturating_mul(SNAPPY_RATIO_MAX) {
        let reason = "it claims to hold more than snappy can".to_owned();
        return Err(BatchError::Compression(Compression::Snappy, reason));
    }
    let start = out.len();
    if length > bytes_max.saturating_sub(start) {
        return Err(BatchError::DecompressedTooLarge(bytes_max));
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new()
        .decompress(chunk, &mut out[start..])
        .map_err(broken)?;
    Ok(())
}

/// Compresses the records of a batch as Java's clients do, so that every client can read them.
///
/// # Errors
/// [`BatchError::Compression`] if the codec refuses, which none does for data in memory.
pub fn compress(compression: Compression, records: &[u8]) -> Result<Vec<u8>, BatchError> {
    compress_at(compression, None, records)
}

/// As [`compress`], at a level (KIP-390): 0 to 9 for gzip, those of zstd for zstd; outside of these ranges, the nearest one.
/// `None`: the codec's own default. Snappy and LZ4 have none.
///
/// # Errors
/// Those of [`compress`].
pub fn compress_at(
    compression: Compression,
    level: Option<i32>,
    records: &[u8],
) -> Result<Vec<u8>, BatchError> {
    let out = match compression {
        Compression::None => Ok(records.to_vec()),
        Compression::Gzip => {
            let level = level.map_or_else(flate2::Compression::default, |level| {
                flate2::Compression::new(level.clamp(0, 9).unsigned_abs())
            });
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(records).and_then(|()| encoder.finish())
        }
        Compression::Snappy => snap_xerial(records).map_err(io::Error::from),
        Compression::Lz4 => {
            // Java's client reads neither linked blocks nor frames without block sizes.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
            encoder
                .write_all(records)
                .and_then(|()| encoder.finish().map_err(io::Error::from))
        }
        Compression::Zstd => {
            let levels = zstd::compression_level_range();
            let level = level.map(|level| level.clamp(*levels.start(), *levels.end()));
            zstd::stream::encode_all(records, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
        }
    };
    out.map_err(|error| BatchError::Compression(compression, error.to_string()))
}

fn snap_xerial(records: &[u8]) -> Result<Vec<u8>, snap::Error> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for chunk in records.chunks(XERIAL_CHUNK_BYTES) {
        let chunk = encoder.compress_vec(chunk)?;
        out.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
        out.extend_from_slice(&chunk);
    }
    Ok(out)
}
