//! Reads a frame front to back.

use bytes::Bytes;

use super::{DecodeError, Message, Records, Schema, Str};
use crate::Uuid;

/// How many structs and strings all arrays of one frame may hold together. An element can take one byte on the wire and
/// some 200 in memory, so the size of the frame alone is no bound. A fetch of 200,000 partitions stays below.
pub const ELEMENTS_MAX: usize = 1 << 20;

/// How many elements an array makes room for before it has read any.
const RESERVED_MAX: usize = 1024;

/// Arrays of anything larger than this count against [`ELEMENTS_MAX`]; numbers and ids are about as large in memory as on
/// the wire.
const COUNTED_BYTES_MIN: usize = 17;

/// A position in a frame. Strings and byte fields that it hands out are slices of the frame.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    flexible: bool,
    elements_left: usize,
    message: &'static str,
}

/// The head of a tagged field (KIP-482).
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Which field of its struct it is.
    pub number: u32,
    start: usize,
    end: usize,
}

impl Reader {
    /// A reader at the start of `frame`, not flexible until [`Reader::begin`] says otherwise.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        Self {
            frame,
            at: 0,
            flexible: false,
            elements_left: ELEMENTS_MAX,
            message: "the frame",
        }
    }

    /// Begins a message: errors name it from now on, and lengths are compact if it is flexible in this version.
    ///
    /// # Errors
    /// The message has no such version.
    pub fn begin(&mut self, schema: &Schema, version: i16) -> Result<(), DecodeError> {
        if !schema.covers(version) {
            return Err(DecodeError::Version {
                message: schema.name,
                version,
            });
        }
        self.message = schema.name;
        self.flexible = version >= schema.flexible_from;
        Ok(())
    }

    /// Whether lengths are compact and structs end with tagged fields.
    #[must_use]
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.frame.len() - self.at
    }

    /// Ends the message.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing {
                message: self.message,
                left,
            }),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.frame.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            message: self.message,
            at: self.at,
            needed,
            left: self.left(),
        }
    }

    /// Any byte but 0 is true.
    ///
    /// # Errors
    /// The frame ends here.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>()? != [0])
    }

    /// # Errors
    /// The frame ends here.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// # Errors
    /// The frame ends here.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.fixed()?))
    }

    /// A number of one to five bytes, seven bits a byte, lowest first.
    ///
    /// # Errors
    /// The frame ends here, or the number is larger than 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let start = self.at;
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint {
            message: self.message,
            at: start,
        })
    }

    /// A length, `None` for null, bounded by what is left for that many pieces of at least `size_min` bytes. A length that
    /// is not compact has two bytes if it is `short`, otherwise four.
    fn length(&mut self, short: bool, size_min: usize) -> Result<Option<usize>, DecodeError> {
        let start = self.at;
        let length = if self.flexible {
            match self.uvarint()?.checked_sub(1) {
                Some(length) => length as usize,
                None => return Ok(None),
            }
        } else {
            let length = if short {
                i32::from(self.i16()?)
            } else {
                self.i32()?
            };
            match usize::try_from(length) {
                Ok(length) => length,
                Err(_) if length == -1 => return Ok(None),
                Err(_) => {
                    return Err(DecodeError::NegativeLength {
                        message: self.message,
                        at: start,
                        length,
                    });
                }
            }
        };
        // Kafka refuses strings of more than 2^15 - 1 bytes in flexible versions too.
        if length > self.left() / size_min || (short && length > i16::MAX as usize) {
            return Err(DecodeError::Length {
                message: self.message,
                at: start,
                length,
                left: self.left(),
            });
        }
        Ok(Some(length))
    }

    /// `value`, read from `start`, where null is not allowed.
    fn present<T>(&self, start: usize, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or(DecodeError::NegativeLength {
            message: self.message,
            at: start,
            length: -1,
        })
    }

    fn slice(&mut self, length: usize) -> Bytes {
        let end = self.at + length;
        let bytes = self.frame.slice(self.at..end);
        self.at = end;
        bytes
    }

    /// # Errors
    /// It is null, longer than the frame, or not UTF-8.
    pub fn str(&mut self) -> Result<Str, DecodeError> {
        let start = self.at;
        let text = self.nullable_str()?;
        self.present(start, text)
    }

    /// # Errors
    /// It is longer than the frame, or not UTF-8.
    pub fn nullable_str(&mut self) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.length(true, 1)? else {
            return Ok(None);
        };
        let start = self.at;
        match Str::from_utf8(self.slice(length)) {
            Some(text) => Ok(Some(text)),
            None => Err(DecodeError::Utf8 {
                message: self.message,
                at: start,
            }),
        }
    }

    /// # Errors
    /// They are null, or longer than the frame.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let start = self.at;
        let bytes = self.nullable_bytes()?;
        self.present(start, bytes)
    }

    /// # Errors
    /// They are longer than the frame.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.length(false, 1)?.map(|length| self.slice(length)))
    }

    /// # Errors
    /// They are null, or longer than the frame.
    pub fn records(&mut self) -> Result<Records, DecodeError> {
        self.bytes().map(Records::from)
    }

    /// # Errors
    /// They are longer than the frame.
    pub fn nullable_records(&mut self) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes()?.map(Records::from))
    }

    /// # Errors
    /// It is null, longer than the frame, or an element is broken.
    pub fn array<T: Message>(&mut self, version: i16) -> Result<Vec<T>, DecodeError> {
        let start = self.at;
        let array = self.nullable_array(version)?;
        self.present(start, array)
    }

    /// # Errors
    /// It is longer than the frame, or an element is broken.
    pub fn nullable_array<T: Message>(&mut self, version: i16) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(false, T::SIZE_MIN)? else {
            return Ok(None);
        };
        if size_of::<T>() >= COUNTED_BYTES_MIN {
            match self.elements_left.checked_sub(count) {
                Some(left) => self.elements_left = left,
                None => {
                    return Err(DecodeError::Elements {
                        message: self.message,
                    });
                }
            }
        }
        let mut array = Vec::with_capacity(count.min(RESERVED_MAX));
        for _ in 0..count {
            array.push(T::decode(self, version)?);
        }
        Ok(Some(array))
    }

    /// A struct behind a byte that says whether it is there: negative for null.
    ///
    /// # Errors
    /// The frame ends here, or the struct is broken.
    pub fn nullable_struct<T: Message>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 {
            Ok(None)
        } else {
            T::decode(self, version).map(Some)
        }
    }

    /// How many tagged fields follow; none unless the message is flexible.
    ///
    /// # Errors
    /// The frame ends here.
    pub fn tag_count(&mut self) -> Result<u32, DecodeError> {
        if self.flexible { self.uvarint() } else { Ok(0) }
    }

    /// The head of the next tagged field.
    ///
    /// # Errors
    /// The field is longer than the frame.
    pub fn tag(&mut self) -> Result<Tag, DecodeError> {
        let number = self.uvarint()?;
        let at = self.at;
        let size = self.uvarint()? as usize;
        if size > self.left() {
            return Err(DecodeError::Length {
                message: self.message,
                at,
                length: size,
                left: self.left(),
            });
        }
        Ok(Tag {
            number,
            start: self.at,
            end: self.at + size,
        })
    }

    /// Goes over the content of a field that is not known.
    pub fn skip_tag(&mut self, tag: &Tag) {
        self.at = tag.end;
    }

    /// Ends a tagged field.
    ///
    /// # Errors
    /// Its content had another size than its head says.
    pub fn end_tag(&mut self, tag: &Tag) -> Result<(), DecodeError> {
        if self.at == tag.end {
            return Ok(());
        }
        Err(DecodeError::TagSize {
            message: self.message,
            at: tag.start,
            announced: tag.end - tag.start,
            read: self.at - tag.start,
        })
    }

    /// Goes over all tagged fields of a struct that knows none.
    ///
    /// # Errors
    /// A field is longer than the frame.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count()? {
            let tag = self.tag()?;
            self.skip_tag(&tag);
        }
        Ok(())
    }
}
