// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "SyncGroupRequest",
    versions: (0, 5),
    flexible_from: 4,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupRequest {
    pub group_id: Str,
    pub generation_id: i32,
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
    pub protocol_type: Option<Str>,
    pub protocol_name: Option<Str>,
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

impl Message for SyncGroupRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            group_id: r.str()?,
            generation_id: r.i32()?,
            member_id: r.str()?,
            group_instance_id: if version >= 3 { r.nullable_str()? } else { None },
            protocol_type: if version >= 5 { r.nullable_str()? } else { None },
            protocol_name: if version >= 5 { r.nullable_str()? } else { None },
            assignments: r.array(version)?,
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
            return Err(w.unsupported("SyncGroupRequest.group_instance_id"));
        }
        if version >= 5 {
            w.nullable_str(self.protocol_type.as_ref())?;
        }
        if version >= 5 {
            w.nullable_str(self.protocol_name.as_ref())?;
        }
        w.array(&self.assignments, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupRequestAssignment {
    pub member_id: Str,
    pub assignment: Bytes,
}

impl Message for SyncGroupRequestAssignment {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            member_id: r.str()?,
            assignment: r.bytes()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.member_id)?;
        w.bytes(&self.assignment)?;
        w.no_tags();
        Ok(())
    }
}

impl Request for SyncGroupRequest {
    const KEY: ApiKey = ApiKey::SyncGroup;
    type Response = super::SyncGroupResponse;
}
