//! The payload of a produce request or of a fetch response, passed on without copying.

use bytes::{Bytes, BytesMut};

/// Record batches in the chunks in which they were read, from the wire or from a disk. Two are equal when they hold the
/// same bytes, however these are cut.
#[derive(Clone, Debug, Default)]
pub struct Records(Chunks);

#[derive(Clone, Debug)]
enum Chunks {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Default for Chunks {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Records {
    /// Length in bytes, over all chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks().iter().all(Bytes::is_empty)
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Chunks::One(bytes) => std::slice::from_ref(bytes),
            Chunks::Many(chunks) => chunks,
        }
    }

    /// All in one piece; copies only where there is more than one chunk.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Chunks::One(bytes) => bytes,
            Chunks::Many(chunks) => {
                let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
                for chunk in &chunks {
                    whole.extend_from_slice(chunk);
                }
                whole.freeze()
            }
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self(Chunks::One(bytes))
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(mut chunks: Vec<Bytes>) -> Self {
        match chunks.len() {
            0 => Self::default(),
            1 => Self(Chunks::One(chunks.remove(0))),
            _ => Self(Chunks::Many(chunks)),
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        fn bytes(records: &Records) -> impl Iterator<Item = &u8> {
            records.chunks().iter().flatten()
        }
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Records {}
