// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ReadShareGroupStateSummaryRequest",
    versions: (0, 1),
    flexible_from: 0,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadShareGroupStateSummaryRequest {
    pub group_id: Str,
    pub topics: Vec<ReadStateSummaryData>,
}

impl Message for ReadShareGroupStateSummaryRequest {
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
pub struct ReadStateSummaryData {
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionData>,
}

impl Message for ReadStateSummaryData {
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
    pub leader_epoch: i32,
}

impl Message for PartitionData {
    const SIZE_MIN: usize = 9;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            partition: r.i32()?,
            leader_epoch: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        w.i32(self.leader_epoch);
        w.no_tags();
        Ok(())
    }
}

impl Request for ReadShareGroupStateSummaryRequest {
    const KEY: ApiKey = ApiKey::ReadShareGroupStateSummary;
    type Response = super::ReadShareGroupStateSummaryResponse;
}
