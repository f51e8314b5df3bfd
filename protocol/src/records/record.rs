//! The records inside a batch, once it is decompressed.

use super::{BatchError, BatchHeader, NO_TIMESTAMP, TimestampType, varint};
use crate::Offset;

/// One record. Everything borrows from the decompressed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Milliseconds of the epoch; `-1` if the producer gave none. The batch's where the topic says `LogAppendTime`.
    pub timestamp_ms: i64,
    /// `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// `None` is Kafka's null: on a compacted topic, a tombstone.
    pub value: Option<&'a [u8]>,
    headers_count: i32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its headers, in order; a key may come more than once (KIP-82).
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers {
            left: self.headers_count,
            input: self.headers,
        }
    }

    fn parse(input: &mut &'a [u8], batch: &BatchHeader) -> Result<Self, &'static str> {
        let length = varint::read_i32(input).ok_or("its length is cut off or too long")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut body, rest) = input.split_at_checked(length).ok_or("it ends after the batch")?;
        *input = rest;
        let body = &mut body;
        let (_attributes, rest) = body.split_first().ok_or("it is empty")?;
        *body = rest;
        let timestamp_delta = varint::read(body).ok_or("its timestamp is cut off or too long")?;
        let offset_delta = varint::read_i32(body).ok_or("its offset is cut off or too long")?;
        if !(0..=batch.last_offset_delta).contains(&offset_delta) {
            return Err("its offset is outside of the batch");
        }
        let key = varint::read_nullable(body).ok_or("its key is cut off or of negative length")?;
        let value = varint::read_nullable(body).ok_or("its value is cut off or of negative length")?;
        let headers_count = varint::read_i32(body).ok_or("its number of headers is cut off or too long")?;
        if headers_count < 0 {
            return Err("its number of headers is negative");
        }
        let headers = *body;
        for _ in 0..headers_count {
            read_header(body).ok_or("a header is cut off or has no key")?;
        }
        if !body.is_empty() {
            return Err("bytes follow its last header");
        }
        let timestamp_ms = match batch.timestamp_type() {
            TimestampType::LogAppendTime => batch.max_timestamp_ms,
            TimestampType::CreateTime if batch.base_timestamp_ms == NO_TIMESTAMP && timestamp_delta == 0 => {
                NO_TIMESTAMP
            }
            TimestampType::CreateTime => batch.base_timestamp_ms.saturating_add(timestamp_delta),
        };
        let offset = batch.base_offset.plus(i64::from(offset_delta));
        Ok(Self {
            offset,
            timestamp_ms,
            key,
            value,
            headers_count,
            headers,
        })
    }
}

/// A header of a record: key and value. Kafka's keys are UTF-8, which is left to the reader to insist on.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

fn read_header<'a>(input: &mut &'a [u8]) -> Option<Header<'a>> {
    let key = varint::read_nullable(input)??;
    let value = varint::read_nullable(input)?;
    Some((key, value))
}

/// See [`Record::headers`].
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: i32,
    input: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        read_header(&mut self.input)
    }
}

/// Iterates over the decompressed payload of a batch. Yields as many records as the header counts, or an error and
/// then nothing; bytes after the last record are an error too.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: BatchHeader,
    input: &'a [u8],
    next: i32,
    last_offset: Offset,
    broken: bool,
}

impl<'a> Records<'a> {
    /// `payload` is what [`super::decompress`] gave for this header.
    #[must_use]
    pub fn new(batch: &BatchHeader, payload: &'a [u8]) -> Self {
        Self {
            batch: *batch,
            input: payload,
            next: 0,
            last_offset: Offset(-1),
            broken: false,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let index = self.next;
        let parsed = if index >= self.batch.records_count {
            if self.input.is_empty() {
                return None;
            }
            Err("bytes follow the last record")
        } else {
            Record::parse(&mut self.input, &self.batch).and_then(|record| {
                if record.offset <= self.last_offset {
                    return Err("its offset is not above that of the record before");
                }
                self.last_offset = record.offset;
                Ok(record)
            })
        };
        self.next += 1;
        self.broken = parsed.is_err();
        Some(parsed.map_err(|reason| BatchError::Record { index, reason }))
    }
}
