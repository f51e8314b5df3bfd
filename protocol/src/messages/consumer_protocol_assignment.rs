// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};
use bytes::Bytes;

const SCHEMA: Schema = Schema {
    name: "ConsumerProtocolAssignment",
    versions: (0, 3),
    flexible_from: i16::MAX,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerProtocolAssignment {
    pub assigned_partitions: Vec<TopicPartition>,
    pub user_data: Option<Bytes>,
}

impl Message for ConsumerProtocolAssignment {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            assigned_partitions: r.array(version)?,
            user_data: r.nullable_bytes()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.array(&self.assigned_partitions, version)?;
        w.nullable_bytes(self.user_data.as_ref())?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicPartition {
    pub topic: Str,
    pub partitions: Vec<i32>,
}

impl Message for TopicPartition {
    const SIZE_MIN: usize = 6;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            topic: r.str()?,
            partitions: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.topic)?;
        w.array(&self.partitions, version)?;
        w.no_tags();
        Ok(())
    }
}
