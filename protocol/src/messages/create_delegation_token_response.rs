// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "CreateDelegationTokenResponse",
    versions: (1, 3),
    flexible_from: 2,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateDelegationTokenResponse {
    pub error_code: i16,
    pub principal_type: Str,
    pub principal_name: Str,
    pub token_requester_principal_type: Str,
    pub token_requester_principal_name: Str,
    pub issue_timestamp_ms: i64,
    pub expiry_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub token_id: Str,
    pub hmac: Bytes,
    pub throttle_time_ms: i32,
}

impl Message for CreateDelegationTokenResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            error_code: r.i16()?,
            principal_type: r.str()?,
            principal_name: r.str()?,
            token_requester_principal_type: if version >= 3 { r.str()? } else { Str::default() },
            token_requester_principal_name: if version >= 3 { r.str()? } else { Str::default() },
            issue_timestamp_ms: r.i64()?,
            expiry_timestamp_ms: r.i64()?,
            max_timestamp_ms: r.i64()?,
            token_id: r.str()?,
            hmac: r.bytes()?,
            throttle_time_ms: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.i16(self.error_code);
        w.str(&self.principal_type)?;
        w.str(&self.principal_name)?;
        if version >= 3 {
            w.str(&self.token_requester_principal_type)?;
        } else if !self.token_requester_principal_type.is_empty() {
            return Err(w.unsupported("CreateDelegationTokenResponse.token_requester_principal_type"));
        }
        if version >= 3 {
            w.str(&self.token_requester_principal_name)?;
        } else if !self.token_requester_principal_name.is_empty() {
            return Err(w.unsupported("CreateDelegationTokenResponse.token_requester_principal_name"));
        }
        w.i64(self.issue_timestamp_ms);
        w.i64(self.expiry_timestamp_ms);
        w.i64(self.max_timestamp_ms);
        w.str(&self.token_id)?;
        w.bytes(&self.hmac)?;
        w.i32(self.throttle_time_ms);
        w.no_tags();
        Ok(())
    }
}
