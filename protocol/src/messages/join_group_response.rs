// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer, required};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "JoinGroupResponse",
    versions: (0, 9),
    flexible_from: 6,
};

#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroupResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub generation_id: i32,
    pub protocol_type: Option<Str>,
    pub protocol_name: Option<Str>,
    pub leader: Str,
    pub skip_assignment: bool,
    pub member_id: Str,
    pub members: Vec<JoinGroupResponseMember>,
}

impl Default for JoinGroupResponse {
    fn default() -> Self {
        Self {
            throttle_time_ms: 0,
            error_code: 0,
            generation_id: -1,
            protocol_type: None,
            protocol_name: Some(Str::default()),
            leader: Str::default(),
            skip_assignment: false,
            member_id: Str::default(),
            members: Vec::new(),
        }
    }
}

impl Message for JoinGroupResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            throttle_time_ms: if version >= 2 { r.i32()? } else { 0 },
            error_code: r.i16()?,
            generation_id: r.i32()?,
            protocol_type: if version >= 7 { r.nullable_str()? } else { None },
            protocol_name: if version >= 7 {
                r.nullable_str()?
            } else {
                Some(r.str()?)
            },
            leader: r.str()?,
            skip_assignment: if version >= 9 { r.bool()? } else { false },
            member_id: r.str()?,
            members: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 2 {
            w.i32(self.throttle_time_ms);
        }
        w.i16(self.error_code);
        w.i32(self.generation_id);
        if version >= 7 {
            w.nullable_str(self.protocol_type.as_ref())?;
        }
        if version >= 7 {
            w.nullable_str(self.protocol_name.as_ref())?;
        } else {
            w.str(required(
                &self.protocol_name,
                "JoinGroupResponse.protocol_name",
                version,
            )?)?;
        }
        w.str(&self.leader)?;
        if version >= 9 {
            w.bool(self.skip_assignment);
        } else if self.skip_assignment {
            return Err(w.unsupported("JoinGroupResponse.skip_assignment"));
        }
        w.str(&self.member_id)?;
        w.array(&self.members, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinGroupResponseMember {
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
    pub metadata: Bytes,
}

impl Message for JoinGroupResponseMember {
    const SIZE_MIN: usize = 4;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            member_id: r.str()?,
            group_instance_id: if version >= 5 { r.nullable_str()? } else { None },
            metadata: r.bytes()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.member_id)?;
        if version >= 5 {
            w.nullable_str(self.group_instance_id.as_ref())?;
        }
        w.bytes(&self.metadata)?;
        w.no_tags();
        Ok(())
    }
}
