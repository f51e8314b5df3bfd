// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "FetchRequest",
    versions: (4, 18),
    flexible_from: 12,
};

#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    pub cluster_id: Option<Str>,
    pub replica_id: i32,
    pub replica_state: ReplicaState,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation_level: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    pub rack_id: Str,
}

impl Default for FetchRequest {
    fn default() -> Self {
        Self {
            cluster_id: None,
            replica_id: -1,
            replica_state: ReplicaState::default(),
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: i32::MAX,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: Vec::new(),
            forgotten_topics_data: Vec::new(),
            rack_id: Str::default(),
        }
    }
}

impl Message for FetchRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let mut this = Self {
            cluster_id: None,
            replica_id: if version <= 14 { r.i32()? } else { -1 },
            replica_state: ReplicaState::default(),
            max_wait_ms: r.i32()?,
            min_bytes: r.i32()?,
            max_bytes: r.i32()?,
            isolation_level: r.i8()?,
            session_id: if version >= 7 { r.i32()? } else { 0 },
            session_epoch: if version >= 7 { r.i32()? } else { -1 },
            topics: r.array(version)?,
            forgotten_topics_data: if version >= 7 {
                r.array(version)?
            } else {
                Vec::new()
            },
            rack_id: if version >= 11 { r.str()? } else { Str::default() },
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 12 => this.cluster_id = r.nullable_str()?,
                1 if version >= 15 => this.replica_state = ReplicaState::decode(r, version)?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version <= 14 {
            w.i32(self.replica_id);
        } else if self.replica_id != -1 {
            return Err(w.unsupported("FetchRequest.replica_id"));
        }
        if version < 15 && self.replica_state != ReplicaState::default() {
            return Err(w.unsupported("FetchRequest.replica_state"));
        }
        w.i32(self.max_wait_ms);
        w.i32(self.min_bytes);
        w.i32(self.max_bytes);
        w.i8(self.isolation_level);
        if version >= 7 {
            w.i32(self.session_id);
        }
        if version >= 7 {
            w.i32(self.session_epoch);
        }
        w.array(&self.topics, version)?;
        if version >= 7 {
            w.array(&self.forgotten_topics_data, version)?;
        } else if !self.forgotten_topics_data.is_empty() {
            return Err(w.unsupported("FetchRequest.forgotten_topics_data"));
        }
        if version >= 11 {
            w.str(&self.rack_id)?;
        }
        let has_cluster_id = version >= 12 && self.cluster_id.is_some();
        let has_replica_state = version >= 15 && self.replica_state != ReplicaState::default();
        w.tag_count(u32::from(has_cluster_id) + u32::from(has_replica_state));
        if has_cluster_id {
            let mut tag = w.tag();
            tag.nullable_str(self.cluster_id.as_ref())?;
            w.put_tag(0, tag)?;
        }
        if has_replica_state {
            let mut tag = w.tag();
            self.replica_state.encode(&mut tag, version)?;
            w.put_tag(1, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaState {
    pub replica_id: i32,
    pub replica_epoch: i64,
}

impl Default for ReplicaState {
    fn default() -> Self {
        Self {
            replica_id: -1,
            replica_epoch: -1,
        }
    }
}

impl Message for ReplicaState {
    const SIZE_MIN: usize = 13;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            replica_id: r.i32()?,
            replica_epoch: r.i64()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.replica_id);
        w.i64(self.replica_epoch);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FetchTopic {
    pub topic: Str,
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartition>,
}

impl Message for FetchTopic {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            topic: if version <= 12 { r.str()? } else { Str::default() },
            topic_id: if version >= 13 { r.uuid()? } else { Uuid::ZERO },
            partitions: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if version <= 12 {
            w.str(&self.topic)?;
        }
        if version >= 13 {
            w.uuid(self.topic_id);
        }
        w.array(&self.partitions, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchPartition {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
    pub replica_directory_id: Uuid,
    pub high_watermark: i64,
}

impl Default for FetchPartition {
    fn default() -> Self {
        Self {
            partition: 0,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 0,
            replica_directory_id: Uuid::ZERO,
            high_watermark: i64::MAX,
        }
    }
}

impl Message for FetchPartition {
    const SIZE_MIN: usize = 16;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut this = Self {
            partition: r.i32()?,
            current_leader_epoch: if version >= 9 { r.i32()? } else { -1 },
            fetch_offset: r.i64()?,
            last_fetched_epoch: if version >= 12 { r.i32()? } else { -1 },
            log_start_offset: if version >= 5 { r.i64()? } else { -1 },
            partition_max_bytes: r.i32()?,
            replica_directory_id: Uuid::ZERO,
            high_watermark: i64::MAX,
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 17 => this.replica_directory_id = r.uuid()?,
                1 if version >= 18 => this.high_watermark = r.i64()?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        if version >= 9 {
            w.i32(self.current_leader_epoch);
        }
        w.i64(self.fetch_offset);
        if version >= 12 {
            w.i32(self.last_fetched_epoch);
        } else if self.last_fetched_epoch != -1 {
            return Err(w.unsupported("FetchPartition.last_fetched_epoch"));
        }
        if version >= 5 {
            w.i64(self.log_start_offset);
        }
        w.i32(self.partition_max_bytes);
        let has_replica_directory_id = version >= 17 && !self.replica_directory_id.is_zero();
        let has_high_watermark = version >= 18 && self.high_watermark != i64::MAX;
        w.tag_count(u32::from(has_replica_directory_id) + u32::from(has_high_watermark));
        if has_replica_directory_id {
            let mut tag = w.tag();
            tag.uuid(self.replica_directory_id);
            w.put_tag(0, tag)?;
        }
        if has_high_watermark {
            let mut tag = w.tag();
            tag.i64(self.high_watermark);
            w.put_tag(1, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForgottenTopic {
    pub topic: Str,
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

impl Message for ForgottenTopic {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            topic: if version <= 12 { r.str()? } else { Str::default() },
            topic_id: if version >= 13 { r.uuid()? } else { Uuid::ZERO },
            partitions: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if version <= 12 {
            w.str(&self.topic)?;
        }
        if version >= 13 {
            w.uuid(self.topic_id);
        }
        w.array(&self.partitions, version)?;
        w.no_tags();
        Ok(())
    }
}

impl Request for FetchRequest {
    const KEY: ApiKey = ApiKey::Fetch;
    type Response = super::FetchResponse;
}
