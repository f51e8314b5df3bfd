//! Memory of large reads, used again: from the allocator, each would be mapped, zeroed and faulted in anew, which costs more than
//! copying into it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// The size of each: the largest read that readers of logs make at once.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Smaller reads take memory of their own size.
const READ_BYTES_MIN: usize = BUFFER_BYTES / 2;
/// How many are kept that nobody uses.
const KEPT_MAX: usize = 16;

/// Those that nobody uses at the moment; what was used last comes first.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl Buffers {
    /// What `fill` writes into `length` bytes: it says how many they are.
    ///
    /// # Errors
    /// Those of `fill`.
    pub(super) fn filled(
        &self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        if !(READ_BYTES_MIN..=BUFFER_BYTES).contains(&length) {
            let mut bytes = vec![0; length];
            let filled = fill(&mut bytes)?;
            bytes.truncate(filled);
            return Ok(Bytes::from(bytes));
        }
        let kept = self.free.lock().pop();
        let mut lent = Lent {
            bytes: kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()),
            filled: 0,
            home: Arc::clone(&self.free),
        };
        lent.filled = fill(&mut lent.bytes[..length])?;
        Ok(Bytes::from_owner(lent))
    }
}

/// One that is used. It goes home when the last view of it is dropped.
struct Lent {
    bytes: Box<[u8]>,
    filled: usize,
    home: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.lock();
        if free.len() < KEPT_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Buffers, length: usize, byte: u8) -> Bytes {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok(bytes.len())
        };
        buffers.filled(length, fill).unwrap()
    }

    #[test]
    fn large_buffer_is_used_again_once_nobody_looks_at_it() {
        let buffers = Buffers::default();
        let first = filled(&buffers, BUFFER_BYTES, 1);
        let (place, rest) = (first.as_ptr(), first.slice(10..));
        drop(first);
        let second = filled(&buffers, BUFFER_BYTES, 2);
        assert_ne!(second.as_ptr(), place, "a view of it is still there");
        assert!(rest.iter().all(|byte| *byte == 1));
        drop(rest);
        assert_eq!(filled(&buffers, READ_BYTES_MIN, 3).as_ptr(), place);
    }

    #[test]
    fn what_was_there_before_is_not_seen() {
        let buffers = Buffers::default();
        drop(filled(&buffers, BUFFER_BYTES, 9));
        let short = buffers.filled(BUFFER_BYTES, |_| Ok(3)).unwrap();
        assert_eq!(short.len(), 3);
        let shorter = filled(&buffers, READ_BYTES_MIN, 4);
        assert_eq!(shorter.len(), READ_BYTES_MIN);
        assert!(shorter.iter().all(|byte| *byte == 4));
    }

    #[test]
    fn only_some_are_kept_and_a_failed_read_loses_none() {
        let buffers = Buffers::default();
        let many: Vec<Bytes> = (0..2 * KEPT_MAX)
            .map(|_| filled(&buffers, BUFFER_BYTES, 0))
            .collect();
        drop(many);
        assert_eq!(buffers.free.lock().len(), KEPT_MAX);
        let failed = buffers.filled(BUFFER_BYTES, |_| Err(io::Error::other("gone")));
        assert_eq!(failed.unwrap_err().to_string(), "gone");
        assert_eq!(buffers.free.lock().len(), KEPT_MAX);
        assert_eq!(filled(&buffers, 100, 5).len(), 100);
        assert_eq!(
            buffers.free.lock().len(),
            KEPT_MAX,
            "small reads leave them alone"
        );
    }
}
