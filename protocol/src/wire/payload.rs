//! The payload of a produce request or of a fetch response, passed on without copying.

use bytes::{Bytes, BytesMut};

use super::segment::{Region, Segment};

/// Record batches in the chunks in which they were read, from the wire or from a disk, or where they lie in a file: those are
/// only sent. Two are equal when they hold the same bytes, however these are cut, or when they are the same region of a file.
#[derive(Clone, Debug, Default)]
pub struct Records(Chunks);

#[derive(Clone, Debug)]
enum Chunks {
    One(Bytes),
    Many(Vec<Bytes>),
    File(Region),
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
        match &self.0 {
            Chunks::File(region) => region.length,
            _ => self.chunks().iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunks that are in memory, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Chunks::One(bytes) => std::slice::from_ref(bytes),
            Chunks::Many(chunks) => chunks,
            Chunks::File(_) => &[],
        }
    }

    /// What goes to the wire, in order.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> {
        let region = match &self.0 {
            Chunks::File(region) => Some(Segment::File(region.clone())),
            _ => None,
        };
        let chunks = self.chunks().iter().cloned().map(Segment::Memory);
        chunks.chain(region)
    }

    /// All in one piece, which is in memory: so is what was received. Copies only where there is more than one chunk.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Chunks::One(bytes) => bytes,
            Chunks::File(_) => {
                debug_assert!(false, "what lies in a file is only sent");
                Bytes::new()
            }
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

impl From<Region> for Records {
    fn from(region: Region) -> Self {
        Self(Chunks::File(region))
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        if let (Chunks::File(region), Chunks::File(other)) = (&self.0, &other.0) {
            return region == other;
        }
        fn bytes(records: &Records) -> impl Iterator<Item = &u8> {
            records.chunks().iter().flatten()
        }
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Records {}
