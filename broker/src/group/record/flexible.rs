//! Fields of flexible values (KIP-482), as the groups of all newer protocols write them.

use bytes::{BufMut, BytesMut};
use flotilla_protocol::Uuid;

use super::{Malformed, Reader, put_uvarint};
use crate::group::Text;

/// The first tag of each value that has any.
pub(in crate::group) const TAG_FIRST: u32 = 0;

pub(in crate::group) fn read<T>(
    value: Option<Reader<'_>>,
    fields: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    value.map(|mut input| fields(&mut input)).transpose()
}

pub(in crate::group) fn put_count(out: &mut BytesMut, count: usize) {
    put_uvarint(out, count as u32 + 1);
}

pub(in crate::group) fn put_text(out: &mut BytesMut, text: &str) {
    put_count(out, text.len());
    out.put_slice(text.as_bytes());
}

pub(in crate::group) fn put_optional(out: &mut BytesMut, text: Option<&Text>) {
    match text {
        Some(text) => put_text(out, text),
        None => put_uvarint(out, 0),
    }
}

pub(in crate::group) fn put_tagged_i64(out: &mut BytesMut, value: i64) {
    if value == 0 {
        put_uvarint(out, 0);
    } else {
        put_uvarint(out, 1);
        put_uvarint(out, TAG_FIRST);
        put_uvarint(out, 8);
        out.put_i64(value);
    }
}

impl<'a> Reader<'a> {
    pub(in crate::group) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(in crate::group) fn uuid(&mut self) -> Result<Uuid, Malformed> {
        self.array().map(Uuid)
    }

    /// A compact array. Not allocated by its count: the loop ends where the bytes do.
    pub(in crate::group) fn many<T>(
        &mut self,
        mut one: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.uvarint()?.checked_sub(1).ok_or(Malformed::Null)?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// The tags at the end of a value, of which one may be a number.
    pub(in crate::group) fn tagged_i64(&mut self) -> Result<i64, Malformed> {
        let mut value = 0;
        self.tagged(|tag, field| {
            if tag == TAG_FIRST {
                value = Reader(field).i64()?;
            }
            Ok(())
        })?;
        Ok(value)
    }
}
