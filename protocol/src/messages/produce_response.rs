// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ProduceResponse",
    versions: (3, 13),
    flexible_from: 9,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProduceResponse {
    pub responses: Vec<TopicProduceResponse>,
    pub throttle_time_ms: i32,
    pub node_endpoints: Vec<NodeEndpoint>,
}

impl Message for ProduceResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let mut this = Self {
            responses: r.array(version)?,
            throttle_time_ms: r.i32()?,
            node_endpoints: Vec::new(),
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 10 => this.node_endpoints = r.array(version)?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.array(&self.responses, version)?;
        w.i32(self.throttle_time_ms);
        if version < 10 && !self.node_endpoints.is_empty() {
            return Err(w.unsupported("ProduceResponse.node_endpoints"));
        }
        let has_node_endpoints = version >= 10 && !self.node_endpoints.is_empty();
        w.tag_count(u32::from(has_node_endpoints));
        if has_node_endpoints {
            let mut tag = w.tag();
            tag.array(&self.node_endpoints, version)?;
            w.put_tag(0, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicProduceResponse {
    pub name: Str,
    pub topic_id: Uuid,
    pub partition_responses: Vec<PartitionProduceResponse>,
}

impl Message for TopicProduceResponse {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: if version <= 12 { r.str()? } else { Str::default() },
            topic_id: if version >= 13 { r.uuid()? } else { Uuid::ZERO },
            partition_responses: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if version <= 12 {
            w.str(&self.name)?;
        }
        if version >= 13 {
            w.uuid(self.topic_id);
        }
        w.array(&self.partition_responses, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct PartitionProduceResponse {
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    pub error_message: Option<Str>,
    pub current_leader: LeaderIdAndEpoch,
}

impl Default for PartitionProduceResponse {
    fn default() -> Self {
        Self {
            index: 0,
            error_code: 0,
            base_offset: 0,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: LeaderIdAndEpoch::default(),
        }
    }
}

impl Message for PartitionProduceResponse {
    const SIZE_MIN: usize = 22;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut this = Self {
            index: r.i32()?,
            error_code: r.i16()?,
            base_offset: r.i64()?,
            log_append_time_ms: r.i64()?,
            log_start_offset: if version >= 5 { r.i64()? } else { -1 },
            record_errors: if version >= 8 {
                r.array(version)?
            } else {
                Vec::new()
            },
            error_message: if version >= 8 { r.nullable_str()? } else { None },
            current_leader: LeaderIdAndEpoch::default(),
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 10 => this.current_leader = LeaderIdAndEpoch::decode(r, version)?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.index);
        w.i16(self.error_code);
        w.i64(self.base_offset);
        w.i64(self.log_append_time_ms);
        if version >= 5 {
            w.i64(self.log_start_offset);
        }
        if version >= 8 {
            w.array(&self.record_errors, version)?;
        }
        if version >= 8 {
            w.nullable_str(self.error_message.as_ref())?;
        }
        if version < 10 && self.current_leader != LeaderIdAndEpoch::default() {
            return Err(w.unsupported("PartitionProduceResponse.current_leader"));
        }
        let has_current_leader = version >= 10 && self.current_leader != LeaderIdAndEpoch::default();
        w.tag_count(u32::from(has_current_leader));
        if has_current_leader {
            let mut tag = w.tag();
            self.current_leader.encode(&mut tag, version)?;
            w.put_tag(0, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchIndexAndErrorMessage {
    pub batch_index: i32,
    pub batch_index_error_message: Option<Str>,
}

impl Message for BatchIndexAndErrorMessage {
    const SIZE_MIN: usize = 6;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            batch_index: r.i32()?,
            batch_index_error_message: r.nullable_str()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.batch_index);
        w.nullable_str(self.batch_index_error_message.as_ref())?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeaderIdAndEpoch {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

impl Default for LeaderIdAndEpoch {
    fn default() -> Self {
        Self {
            leader_id: -1,
            leader_epoch: -1,
        }
    }
}

impl Message for LeaderIdAndEpoch {
    const SIZE_MIN: usize = 9;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            leader_id: r.i32()?,
            leader_epoch: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.leader_id);
        w.i32(self.leader_epoch);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    pub rack: Option<Str>,
}

impl Message for NodeEndpoint {
    const SIZE_MIN: usize = 11;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            node_id: r.i32()?,
            host: r.str()?,
            port: r.i32()?,
            rack: r.nullable_str()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.node_id);
        w.str(&self.host)?;
        w.i32(self.port);
        w.nullable_str(self.rack.as_ref())?;
        w.no_tags();
        Ok(())
    }
}
