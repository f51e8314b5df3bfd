// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ReadShareGroupStateSummaryResponse",
    versions: (0, 1),
    flexible_from: 0,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadShareGroupStateSummaryResponse {
    pub results: Vec<ReadStateSummaryResult>,
}

impl Message for ReadShareGroupStateSummaryResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            results: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.array(&self.results, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadStateSummaryResult {
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionResult>,
}

impl Message for ReadStateSummaryResult {
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

#[derive(Clone, Debug, PartialEq)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: i16,
    pub error_message: Option<Str>,
    pub state_epoch: i32,
    pub leader_epoch: i32,
    pub start_offset: i64,
    pub delivery_complete_count: i32,
}

impl Default for PartitionResult {
    fn default() -> Self {
        Self {
            partition: 0,
            error_code: 0,
            error_message: None,
            state_epoch: 0,
            leader_epoch: 0,
            start_offset: 0,
            delivery_complete_count: -1,
        }
    }
}

impl Message for PartitionResult {
    const SIZE_MIN: usize = 24;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            partition: r.i32()?,
            error_code: r.i16()?,
            error_message: r.nullable_str()?,
            state_epoch: r.i32()?,
            leader_epoch: r.i32()?,
            start_offset: r.i64()?,
            delivery_complete_count: if version >= 1 { r.i32()? } else { -1 },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        w.i16(self.error_code);
        w.nullable_str(self.error_message.as_ref())?;
        w.i32(self.state_epoch);
        w.i32(self.leader_epoch);
        w.i64(self.start_offset);
        if version >= 1 {
            w.i32(self.delivery_complete_count);
        }
        w.no_tags();
        Ok(())
    }
}
