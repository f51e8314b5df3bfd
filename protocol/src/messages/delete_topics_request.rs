// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "DeleteTopicsRequest",
    versions: (1, 6),
    flexible_from: 4,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteTopicsRequest {
    pub topics: Vec<DeleteTopicState>,
    pub topic_names: Vec<Str>,
    pub timeout_ms: i32,
}

impl Message for DeleteTopicsRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            topics: if version >= 6 {
                r.array(version)?
            } else {
                Vec::new()
            },
            topic_names: if version <= 5 {
                r.array(version)?
            } else {
                Vec::new()
            },
            timeout_ms: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 6 {
            w.array(&self.topics, version)?;
        } else if !self.topics.is_empty() {
            return Err(w.unsupported("DeleteTopicsRequest.topics"));
        }
        if version <= 5 {
            w.array(&self.topic_names, version)?;
        }
        w.i32(self.timeout_ms);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteTopicState {
    pub name: Option<Str>,
    pub topic_id: Uuid,
}

impl Message for DeleteTopicState {
    const SIZE_MIN: usize = 18;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: r.nullable_str()?,
            topic_id: r.uuid()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.nullable_str(self.name.as_ref())?;
        w.uuid(self.topic_id);
        w.no_tags();
        Ok(())
    }
}

impl Request for DeleteTopicsRequest {
    const KEY: ApiKey = ApiKey::DeleteTopics;
    type Response = super::DeleteTopicsResponse;
}
