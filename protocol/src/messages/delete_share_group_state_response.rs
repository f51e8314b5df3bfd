// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "DeleteShareGroupStateResponse",
    versions: (0, 0),
    flexible_from: 0,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteShareGroupStateResponse {
    pub results: Vec<DeleteStateResult>,
}

impl Message for DeleteShareGroupStateResponse {
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
pub struct DeleteStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionResult>,
}

impl Message for DeleteStateResult {
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
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: i16,
    pub error_message: Option<Str>,
}

impl Message for PartitionResult {
    const SIZE_MIN: usize = 8;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            partition: r.i32()?,
            error_code: r.i16()?,
            error_message: r.nullable_str()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        w.i16(self.error_code);
        w.nullable_str(self.error_message.as_ref())?;
        w.no_tags();
        Ok(())
    }
}
