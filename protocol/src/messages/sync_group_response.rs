// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "SyncGroupResponse",
    versions: (0, 5),
    flexible_from: 4,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub protocol_type: Option<Str>,
    pub protocol_name: Option<Str>,
    pub assignment: Bytes,
}

impl Message for SyncGroupResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
            error_code: r.i16()?,
            protocol_type: if version >= 5 { r.nullable_str()? } else { None },
            protocol_name: if version >= 5 { r.nullable_str()? } else { None },
            assignment: r.bytes()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 1 {
            w.i32(self.throttle_time_ms);
        }
        w.i16(self.error_code);
        if version >= 5 {
            w.nullable_str(self.protocol_type.as_ref())?;
        }
        if version >= 5 {
            w.nullable_str(self.protocol_name.as_ref())?;
        }
        w.bytes(&self.assignment)?;
        w.no_tags();
        Ok(())
    }
}
