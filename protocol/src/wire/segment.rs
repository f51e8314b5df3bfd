//! What a frame goes to the wire in: bytes in memory, and regions of files that are sent from where they lie.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

/// A part of a file, to be sent without reading it into memory first (sendfile(2)).
#[derive(Clone, Debug)]
pub struct Region {
    /// The file, which stays as it is in this part until that was sent.
    pub file: Arc<File>,
    /// Where the part begins, in bytes.
    pub position: u64,
    /// Its length, in bytes.
    pub length: usize,
}

impl Region {
    /// Reads it into memory.
    ///
    /// # Errors
    /// Those of the file; [`io::ErrorKind::UnexpectedEof`] where it ends before the region does.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.length];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes.into())
    }
}

impl PartialEq for Region {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.position, self.length) == (other.position, other.length)
    }
}

impl Eq for Region {}

/// A piece of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes in a file.
    File(Region),
}

impl Segment {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(region) => region.length,
        }
    }

    /// Whether there are no bytes in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes over its first bytes, of which there have to be so many.
    pub fn advance(&mut self, bytes: usize) {
        match self {
            Self::Memory(memory) => bytes::Buf::advance(memory, bytes),
            Self::File(region) => {
                region.position += bytes as u64;
                region.length -= bytes;
            }
        }
    }
}
