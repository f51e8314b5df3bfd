// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "HeartbeatRequest",
    versions: (0, 4),
    flexible_from: 4,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeartbeatRequest {
    pub group_id: Str,
    pub generation_id: i32,
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
}

impl Message for HeartbeatRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            group_id: r.str()?,
            generation_id: r.i32()?,
            member_id: r.str()?,
            group_instance_id: if version >= 3 { r.nullable_str()? } else { None },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.str(&self.group_id)?;
        w.i32(self.generation_id);
        w.str(&self.member_id)?;
        if version >= 3 {
            w.nullable_str(self.group_instance_id.as_ref())?;
        } else if self.group_instance_id.is_some() {
            return Err(w.unsupported("HeartbeatRequest.group_instance_id"));
        }
        w.no_tags();
        Ok(())
    }
}

impl Request for HeartbeatRequest {
    const KEY: ApiKey = ApiKey::Heartbeat;
    type Response = super::HeartbeatResponse;
}
