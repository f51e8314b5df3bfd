// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Writer};

const SCHEMA: Schema = Schema {
    name: "RenewDelegationTokenResponse",
    versions: (1, 2),
    flexible_from: 2,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenewDelegationTokenResponse {
    pub error_code: i16,
    pub expiry_timestamp_ms: i64,
    pub throttle_time_ms: i32,
}

impl Message for RenewDelegationTokenResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            error_code: r.i16()?,
            expiry_timestamp_ms: r.i64()?,
            throttle_time_ms: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.i16(self.error_code);
        w.i64(self.expiry_timestamp_ms);
        w.i32(self.throttle_time_ms);
        w.no_tags();
        Ok(())
    }
}
