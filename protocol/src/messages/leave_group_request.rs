// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "LeaveGroupRequest",
    versions: (0, 5),
    flexible_from: 4,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaveGroupRequest {
    pub group_id: Str,
    pub member_id: Str,
    pub members: Vec<MemberIdentity>,
}

impl Message for LeaveGroupRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            group_id: r.str()?,
            member_id: if version <= 2 { r.str()? } else { Str::default() },
            members: if version >= 3 {
                r.array(version)?
            } else {
                Vec::new()
            },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.str(&self.group_id)?;
        if version <= 2 {
            w.str(&self.member_id)?;
        } else if !self.member_id.is_empty() {
            return Err(w.unsupported("LeaveGroupRequest.member_id"));
        }
        if version >= 3 {
            w.array(&self.members, version)?;
        } else if !self.members.is_empty() {
            return Err(w.unsupported("LeaveGroupRequest.members"));
        }
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberIdentity {
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
    pub reason: Option<Str>,
}

impl Message for MemberIdentity {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            member_id: r.str()?,
            group_instance_id: r.nullable_str()?,
            reason: if version >= 5 { r.nullable_str()? } else { None },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.member_id)?;
        w.nullable_str(self.group_instance_id.as_ref())?;
        if version >= 5 {
            w.nullable_str(self.reason.as_ref())?;
        }
        w.no_tags();
        Ok(())
    }
}

impl Request for LeaveGroupRequest {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    type Response = super::LeaveGroupResponse;
}
