// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "DescribeGroupsResponse",
    versions: (0, 6),
    flexible_from: 5,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DescribeGroupsResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

impl Message for DescribeGroupsResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
            groups: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 1 {
            w.i32(self.throttle_time_ms);
        }
        w.array(&self.groups, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    pub error_code: i16,
    pub error_message: Option<Str>,
    pub group_id: Str,
    pub group_state: Str,
    pub protocol_type: Str,
    pub protocol_data: Str,
    pub members: Vec<DescribedGroupMember>,
    pub authorized_operations: i32,
}

impl Default for DescribedGroup {
    fn default() -> Self {
        Self {
            error_code: 0,
            error_message: None,
            group_id: Str::default(),
            group_state: Str::default(),
            protocol_type: Str::default(),
            protocol_data: Str::default(),
            members: Vec::new(),
            authorized_operations: i32::MIN,
        }
    }
}

impl Message for DescribedGroup {
    const SIZE_MIN: usize = 12;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            error_code: r.i16()?,
            error_message: if version >= 6 { r.nullable_str()? } else { None },
            group_id: r.str()?,
            group_state: r.str()?,
            protocol_type: r.str()?,
            protocol_data: r.str()?,
            members: r.array(version)?,
            authorized_operations: if version >= 3 { r.i32()? } else { i32::MIN },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i16(self.error_code);
        if version >= 6 {
            w.nullable_str(self.error_message.as_ref())?;
        } else if self.error_message.is_some() {
            return Err(w.unsupported("DescribedGroup.error_message"));
        }
        w.str(&self.group_id)?;
        w.str(&self.group_state)?;
        w.str(&self.protocol_type)?;
        w.str(&self.protocol_data)?;
        w.array(&self.members, version)?;
        if version >= 3 {
            w.i32(self.authorized_operations);
        } else if self.authorized_operations != i32::MIN {
            return Err(w.unsupported("DescribedGroup.authorized_operations"));
        }
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DescribedGroupMember {
    pub member_id: Str,
    pub group_instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub member_metadata: Bytes,
    pub member_assignment: Bytes,
}

impl Message for DescribedGroupMember {
    const SIZE_MIN: usize = 7;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            member_id: r.str()?,
            group_instance_id: if version >= 4 { r.nullable_str()? } else { None },
            client_id: r.str()?,
            client_host: r.str()?,
            member_metadata: r.bytes()?,
            member_assignment: r.bytes()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.member_id)?;
        if version >= 4 {
            w.nullable_str(self.group_instance_id.as_ref())?;
        }
        w.str(&self.client_id)?;
        w.str(&self.client_host)?;
        w.bytes(&self.member_metadata)?;
        w.bytes(&self.member_assignment)?;
        w.no_tags();
        Ok(())
    }
}
