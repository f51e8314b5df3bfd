//! Makes bytes that are a message, knowing nothing of the message: random bytes are read, and where the reader stumbles
//! over a length, the length is mended. What comes out is whatever the reader takes.

use bytes::Bytes;
use flotilla_protocol::DecodeError;

use crate::cases::Case;

const BYTES_MAX: usize = 1536;
const REPAIRS_MAX: usize = 2000;

/// Xorshift: the same samples in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Mostly small, so that lengths, counts and tags are often valid as they come.
    fn byte(&mut self) -> u8 {
        match self.below(20) {
            0..12 => self.below(4) as u8,
            12..17 => b'a' + self.below(26) as u8,
            17 => 0xff,
            _ => self.below(256) as u8,
        }
    }
}

/// A message of the case in this version, exactly its bytes. They need not be as we would write them: tags may be
/// unknown, booleans may be 7.
pub fn sample(case: &Case, version: i16, random: &mut Random) -> Bytes {
    for _ in 0..200 {
        if let Some(bytes) = attempt(case, version, random) {
            return bytes;
        }
    }
    panic!("no sample of {} {version}", case.name);
}

fn attempt(case: &Case, version: i16, random: &mut Random) -> Option<Bytes> {
    let mut bytes: Vec<u8> = (0..256).map(|_| random.byte()).collect();
    for _ in 0..REPAIRS_MAX {
        match (case.read)(Bytes::copy_from_slice(&bytes), version) {
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes.into());
            }
            Err(DecodeError::Truncated { .. }) => grow(&mut bytes, random)?,
            Err(DecodeError::Length { at, left, .. }) if left < 16 => {
                grow(&mut bytes, random)?;
                mend(&mut bytes, at, case.is_flexible(version), random);
            }
            Err(
                DecodeError::Length { at, .. }
                | DecodeError::NegativeLength { at, .. }
                | DecodeError::Varint { at, .. },
            ) => mend(&mut bytes, at, case.is_flexible(version), random),
            Err(DecodeError::Utf8 { at, .. }) => {
                let end = bytes.len().min(at + 8);
                bytes[at..end].fill(b'x');
                bytes.iter_mut().skip(end).for_each(|byte| *byte &= 0x7f);
            }
            Err(DecodeError::TagSize { at, read, .. }) => {
                *bytes.get_mut(at - 1)? = u8::try_from(read).ok().filter(|size| *size < 0x80)?;
            }
            Err(error @ (DecodeError::Version { .. } | DecodeError::Trailing { .. })) => panic!("{error}"),
            Err(_) => return None,
        }
    }
    None
}

fn grow(bytes: &mut Vec<u8>, random: &mut Random) -> Option<()> {
    bytes.extend((0..64).map(|_| random.byte()));
    (bytes.len() < BYTES_MAX).then_some(())
}

/// Replaces the length at `at`. Whether a plain one has two bytes or four is not known: two are tried first, and where
/// these were not enough, the reader comes back to the same place.
fn mend(bytes: &mut [u8], at: usize, flexible: bool, random: &mut Random) {
    let small = match random.below(8) {
        0 => 0,
        1..7 => 1 + random.below(2) as u8,
        _ => 3,
    };
    if flexible {
        bytes[at] = small + 1;
    } else if bytes[at] == 0 && bytes[at + 1] <= 3 {
        bytes[at + 1..at + 4].copy_from_slice(&[0, 0, small]);
    } else {
        bytes[at..at + 2].copy_from_slice(&[0, small]);
    }
}
