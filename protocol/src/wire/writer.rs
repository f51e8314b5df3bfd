//! Writes a frame as a rope: small values are copied together, large payloads are taken by reference.

use bytes::{Bytes, BytesMut};

use super::segment::Segment;
use super::{EncodeError, Message, Records, Schema, Str};
use crate::Uuid;

/// Payloads from this size on are referenced; copying a smaller one is cheaper than one more segment.
pub const SHARED_BYTES_MIN: usize = 1024;

/// The value of a field that may not be null in this version.
///
/// # Errors
/// It is null.
pub fn required<'a, T>(
    value: &'a Option<T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value.as_ref().ok_or(EncodeError::Null { field, version })
}

/// A frame, or a part of one, that is being written.
#[derive(Debug)]
pub struct Writer {
    /// What came before the first shared payload: the place for a length is in here.
    head: BytesMut,
    /// What follows `head`, in order.
    segments: Vec<Segment>,
    /// What follows `segments`. While there are none, all is in here and `head` is empty.
    tail: BytesMut,
    /// Bytes in `head` and `segments`.
    finished: usize,
    flexible: bool,
    message: &'static str,
    version: i16,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty writer, not flexible until [`Writer::begin`] says otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: BytesMut::new(),
            segments: Vec::new(),
            tail: BytesMut::with_capacity(128),
            finished: 0,
            flexible: false,
            message: "the frame",
            version: 0,
        }
    }

    /// Begins a message: lengths are compact from now on if it is flexible in this version.
    ///
    /// # Errors
    /// The message has no such version.
    pub fn begin(&mut self, schema: &Schema, version: i16) -> Result<(), EncodeError> {
        if !schema.covers(version) {
            return Err(EncodeError::Version {
                message: schema.name,
                version,
            });
        }
        self.message = schema.name;
        self.version = version;
        self.flexible = version >= schema.flexible_from;
        Ok(())
    }

    /// The error for a field that is set and that the version at hand does not carry.
    #[cold]
    #[must_use]
    pub fn unsupported(&self, field: &'static str) -> EncodeError {
        EncodeError::Unsupported {
            field,
            version: self.version,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.finished + self.tail.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The segments in order, none of them empty.
    #[must_use]
    pub fn finish(mut self) -> Vec<Segment> {
        self.flush();
        if !self.head.is_empty() {
            self.segments.insert(0, Segment::Memory(self.head.freeze()));
        }
        self.segments
    }

    /// Everything in one piece, copied together if there is more than one segment. What is kept so carries no records that lie in a
    /// file.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let message = self.message;
        let segments = in_memory(self.finish(), message);
        debug_assert!(segments.is_ok(), "{segments:?}");
        Records::from(segments.unwrap_or_default()).into_bytes()
    }

    /// The same as [`Writer::finish_frame`] of a frame that is all in memory.
    pub(crate) fn finish_frame_in_memory(self) -> Result<Vec<Bytes>, EncodeError> {
        let message = self.message;
        in_memory(self.finish_frame()?, message)
    }

    /// Writes the length of all that follows the first four bytes into these, and finishes.
    pub(crate) fn finish_frame(mut self) -> Result<Vec<Segment>, EncodeError> {
        let length = self.len() - size_of::<i32>();
        let prefix = self.checked(length, i32::MAX as usize)? as i32;
        let first = if self.finished == 0 {
            &mut self.tail
        } else {
            &mut self.head
        };
        first[..size_of::<i32>()].copy_from_slice(&prefix.to_be_bytes());
        Ok(self.finish())
    }

    fn flush(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let part = self.tail.split();
        if self.finished == 0 {
            self.finished = part.len();
            self.head = part;
        } else {
            self.finished += part.len();
            self.segments.push(Segment::Memory(part.freeze()));
        }
    }

    /// Appends a payload, by reference if it is large.
    pub fn put_shared(&mut self, bytes: Bytes) {
        self.put_segment(Segment::Memory(bytes));
    }

    fn put_segment(&mut self, segment: Segment) {
        match segment {
            Segment::Memory(bytes) if bytes.len() < SHARED_BYTES_MIN => self.tail.extend_from_slice(&bytes),
            segment => {
                self.flush();
                self.finished += segment.len();
                self.segments.push(segment);
            }
        }
    }

    /// Appends a copy.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.put_slice(&[u8::from(value)]);
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.put_slice(&value.0);
    }

    /// One to five bytes, seven bits a byte, lowest first.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put_slice(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put_slice(&[value as u8]);
    }

    fn checked(&self, length: usize, limit: usize) -> Result<usize, EncodeError> {
        if length <= limit {
            return Ok(length);
        }
        Err(EncodeError::TooLong {
            message: self.message,
            length,
            limit,
        })
    }

    /// A length, `None` for null; see the reader's.
    fn length(&mut self, short: bool, length: Option<usize>) -> Result<(), EncodeError> {
        let limit = if short {
            i16::MAX as usize
        } else {
            i32::MAX as usize
        };
        let length = length.map(|length| self.checked(length, limit)).transpose()?;
        match length {
            Some(length) if self.flexible => self.uvarint(length as u32 + 1),
            None if self.flexible => self.uvarint(0),
            _ => {
                let length = length.map_or(-1, |length| length as i32);
                if short {
                    self.i16(length as i16)
                } else {
                    self.i32(length)
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// It is longer than 32,767 bytes.
    pub fn str(&mut self, text: &Str) -> Result<(), EncodeError> {
        self.nullable_str(Some(text))
    }

    /// # Errors
    /// It is longer than 32,767 bytes.
    pub fn nullable_str(&mut self, text: Option<&Str>) -> Result<(), EncodeError> {
        self.length(true, text.map(Str::len))?;
        self.put_slice(text.map_or(&[], Str::as_bytes));
        Ok(())
    }

    /// # Errors
    /// They are longer than 2^31 - 1 bytes.
    pub fn bytes(&mut self, bytes: &Bytes) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(bytes))
    }

    /// # Errors
    /// They are longer than 2^31 - 1 bytes.
    pub fn nullable_bytes(&mut self, bytes: Option<&Bytes>) -> Result<(), EncodeError> {
        self.length(false, bytes.map(Bytes::len))?;
        if let Some(bytes) = bytes {
            self.put_shared(bytes.clone());
        }
        Ok(())
    }

    /// # Errors
    /// They are longer than 2^31 - 1 bytes.
    pub fn records(&mut self, records: &Records) -> Result<(), EncodeError> {
        self.nullable_records(Some(records))
    }

    /// # Errors
    /// They are longer than 2^31 - 1 bytes.
    pub fn nullable_records(&mut self, records: Option<&Records>) -> Result<(), EncodeError> {
        self.length(false, records.map(Records::len))?;
        for segment in records.into_iter().flat_map(Records::segments) {
            self.put_segment(segment);
        }
        Ok(())
    }

    /// # Errors
    /// An element cannot be written.
    pub fn array<T: Message>(&mut self, elements: &[T], version: i16) -> Result<(), EncodeError> {
        self.nullable_array(Some(elements), version)
    }

    /// # Errors
    /// An element cannot be written.
    pub fn nullable_array<T: Message>(
        &mut self,
        elements: Option<&[T]>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(false, elements.map(<[T]>::len))?;
        for element in elements.unwrap_or_default() {
            element.encode(self, version)?;
        }
        Ok(())
    }

    /// A struct behind a byte that says whether it is there: -1 for null, 1 otherwise.
    ///
    /// # Errors
    /// The struct cannot be written.
    pub fn nullable_struct<T: Message>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.i8(if value.is_some() { 1 } else { -1 });
        value.map_or(Ok(()), |value| value.encode(self, version))
    }

    /// Ends a struct that has no tagged field to write.
    pub fn no_tags(&mut self) {
        self.tag_count(0);
    }

    /// How many tagged fields follow, in ascending order of their numbers; nothing unless the message is flexible.
    pub fn tag_count(&mut self, count: u32) {
        if self.flexible {
            self.uvarint(count);
        }
    }

    /// A writer for the content of a tagged field.
    #[must_use]
    pub fn tag(&self) -> Self {
        Self {
            flexible: self.flexible,
            message: self.message,
            version: self.version,
            ..Self::new()
        }
    }

    /// Appends a tagged field (KIP-482).
    ///
    /// # Errors
    /// It is longer than 2^31 - 1 bytes.
    pub fn put_tag(&mut self, number: u32, content: Self) -> Result<(), EncodeError> {
        let size = self.checked(content.len(), i32::MAX as usize)?;
        self.uvarint(number);
        self.uvarint(size as u32);
        for segment in content.finish() {
            self.put_segment(segment);
        }
        Ok(())
    }
}

fn in_memory(segments: Vec<Segment>, message: &'static str) -> Result<Vec<Bytes>, EncodeError> {
    let memory = segments.into_iter().map(|segment| match segment {
        Segment::Memory(bytes) => Ok(bytes),
        Segment::File(_) => Err(EncodeError::InFile { message }),
    });
    memory.collect()
}
