//! Reading and writing Kafka's primitive types (KIP-482 for the flexible ones), bounded by the bytes that are there.
//!
//! A [`Reader`] hands out slices of the frame that it reads, without copying; a [`Writer`] takes large payloads by
//! reference. Both know whether the message at hand is flexible, so that a message's code needs not.

mod payload;
mod reader;
mod segment;
mod text;
mod writer;

pub use payload::Records;
pub use reader::{ELEMENTS_MAX, Reader, Tag};
pub use segment::{Region, Segment};
pub use text::Str;
pub use writer::{SHARED_BYTES_MIN, Writer, required};

use crate::messages::ApiKey;

/// What can be read from the wire and written to it: a message, or a part of one.
pub trait Message: Sized {
    /// The least that it takes on the wire, in bytes: bounds how many an array can announce. At least 1.
    const SIZE_MIN: usize = 1;

    /// Reads it in the form of `version`.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. Never panics, and never allocates more than the bytes there call for.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes it in the form of `version`.
    ///
    /// # Errors
    /// A field is set that this version cannot carry and that may not be left out, or the version does not exist.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A message that asks for something.
pub trait Request: Message {
    /// Which API it belongs to.
    const KEY: ApiKey;
    /// What it is answered with.
    type Response: Message;
}

/// What a message needs to know of itself before its first field.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Kafka's name of the message.
    pub name: &'static str,
    /// The oldest and the newest version.
    pub versions: (i16, i16),
    /// The first version with compact lengths and tagged fields (KIP-482); `i16::MAX` for none.
    pub flexible_from: i16,
}

impl Schema {
    fn covers(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }
}

/// Why bytes are not the message that they should be. `at` counts bytes from the start of the frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a value.
    #[error("{message}: a value at byte {at} needs {needed} bytes, but {left} are left")]
    Truncated {
        /// The message being read.
        message: &'static str,
        /// Where the value begins.
        at: usize,
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that are left of the frame.
        left: usize,
    },
    /// A length or a count is larger than what is left could hold.
    #[error("{message}: the length at byte {at} announces {length}, but only {left} bytes are left")]
    Length {
        /// The message being read.
        message: &'static str,
        /// Where the length begins.
        at: usize,
        /// The length, in bytes or in elements.
        length: usize,
        /// Bytes that are left of the frame.
        left: usize,
    },
    /// A length is negative, or says "null" of something that may not be null.
    #[error("{message}: the length at byte {at} is {length}")]
    NegativeLength {
        /// The message being read.
        message: &'static str,
        /// Where the length begins.
        at: usize,
        /// What it says.
        length: i32,
    },
    /// A variable-length number does not fit into 32 bits.
    #[error("{message}: the variable-length number at byte {at} does not fit into 32 bits")]
    Varint {
        /// The message being read.
        message: &'static str,
        /// Where the number begins.
        at: usize,
    },
    /// A string is not UTF-8.
    #[error("{message}: the string at byte {at} is not UTF-8")]
    Utf8 {
        /// The message being read.
        message: &'static str,
        /// Where the string begins, behind its length.
        at: usize,
    },
    /// A tagged field is not as long as it says.
    #[error("{message}: the tagged field at byte {at} says that it has {announced} bytes, but it has {read}")]
    TagSize {
        /// The message being read.
        message: &'static str,
        /// Where the field's content begins.
        at: usize,
        /// The size that stands before the field.
        announced: usize,
        /// The size that the field's content has.
        read: usize,
    },
    /// All arrays together have more elements than [`ELEMENTS_MAX`].
    #[error("{message}: more than {} elements in all arrays together", ELEMENTS_MAX)]
    Elements {
        /// The message being read.
        message: &'static str,
    },
    /// Bytes are left behind the message.
    #[error("{message}: {left} bytes are left behind it")]
    Trailing {
        /// The message that was read.
        message: &'static str,
        /// How many.
        left: usize,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Why a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that this version does not carry, and that may not be left out.
    #[error("{field} is set, but version {version} does not carry it")]
    Unsupported {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that may not be null in this version.
    #[error("{field} is null, which version {version} does not allow")]
    Null {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Something is longer than its length can say.
    #[error("{message}: {length} is more than the length before it can say ({limit})")]
    TooLong {
        /// The message being written.
        message: &'static str,
        /// The length that it has, in bytes or in elements.
        length: usize,
        /// The longest that it may be.
        limit: usize,
    },
    /// Records that lie in a file are in a request, or in what is kept in memory.
    #[error("{message} cannot carry records that lie in a file")]
    InFile {
        /// The message being written.
        message: &'static str,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Numbers, strings and ids, as elements of arrays.
macro_rules! element {
    ($type:ty, $size:literal, $read:ident, |$w:ident, $value:ident| $write:expr) => {
        impl Message for $type {
            const SIZE_MIN: usize = $size;

            fn decode(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
                r.$read()
            }

            fn encode(&self, $w: &mut Writer, _: i16) -> Result<(), EncodeError> {
                let $value = self;
                $write
            }
        }
    };
}

element!(i8, 1, i8, |w, value| {
    w.i8(*value);
    Ok(())
});
element!(i16, 2, i16, |w, value| {
    w.i16(*value);
    Ok(())
});
element!(i32, 4, i32, |w, value| {
    w.i32(*value);
    Ok(())
});
element!(i64, 8, i64, |w, value| {
    w.i64(*value);
    Ok(())
});
element!(crate::Uuid, 16, uuid, |w, value| {
    w.uuid(*value);
    Ok(())
});
element!(Str, 1, str, |w, value| w.str(value));

#[cfg(test)]
mod tests;
