// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "InitializeShareGroupStateRequest",
    versions: (0, 0),
    flexible_from: 0,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct InitializeShareGroupStateRequest {
    pub group_id: Str,
    pub topics: Vec<InitializeStateData>,
}

impl Message for InitializeShareGroupStateRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            group_id: r.str()?,
            topics: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.str(&self.group_id)?;
        w.array(&self.topics, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct InitializeStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionData>,
}

impl Message for InitializeStateData {
    const SIZE_MIN: usize = 18;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            topic_id: r.uuid()?,
            partitions: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.uuid(self.topic_id);
        w.array(&self.partitions, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionData {
    pub partition: i32,
    pub state_epoch: i32,
    pub start_offset: i64,
}

impl Message for PartitionData {
    const SIZE_MIN: usize = 17;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            partition: r.i32()?,
            state_epoch: r.i32()?,
            start_offset: r.i64()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        w.i32(self.state_epoch);
        w.i64(self.start_offset);
        w.no_tags();
        Ok(())
    }
}

impl Request for InitializeShareGroupStateRequest {
    const KEY: ApiKey = ApiKey::InitializeShareGroupState;
    type Response = super::InitializeShareGroupStateResponse;
}
