// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Records, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "FetchResponse",
    versions: (4, 18),
    flexible_from: 12,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub session_id: i32,
    pub responses: Vec<FetchableTopicResponse>,
    pub node_endpoints: Vec<NodeEndpoint>,
}

impl Message for FetchResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let mut this = Self {
            throttle_time_ms: r.i32()?,
            error_code: if version >= 7 { r.i16()? } else { 0 },
            session_id: if version >= 7 { r.i32()? } else { 0 },
            responses: r.array(version)?,
            node_endpoints: Vec::new(),
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 16 => this.node_endpoints = r.array(version)?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.i32(self.throttle_time_ms);
        if version >= 7 {
            w.i16(self.error_code);
        }
        if version >= 7 {
            w.i32(self.session_id);
        } else if self.session_id != 0 {
            return Err(w.unsupported("FetchResponse.session_id"));
        }
        w.array(&self.responses, version)?;
        if version < 16 && !self.node_endpoints.is_empty() {
            return Err(w.unsupported("FetchResponse.node_endpoints"));
        }
        let has_node_endpoints = version >= 16 && !self.node_endpoints.is_empty();
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
pub struct FetchableTopicResponse {
    pub topic: Str,
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionData>,
}

impl Message for FetchableTopicResponse {
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
pub struct PartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub diverging_epoch: EpochEndOffset,
    pub current_leader: LeaderIdAndEpoch,
    pub snapshot_id: SnapshotId,
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    pub preferred_read_replica: i32,
    pub records: Option<Records>,
}

impl Default for PartitionData {
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: 0,
            high_watermark: 0,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: EpochEndOffset::default(),
            current_leader: LeaderIdAndEpoch::default(),
            snapshot_id: SnapshotId::default(),
            aborted_transactions: Some(Vec::new()),
            preferred_read_replica: -1,
            records: None,
        }
    }
}

impl Message for PartitionData {
    const SIZE_MIN: usize = 30;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut this = Self {
            partition_index: r.i32()?,
            error_code: r.i16()?,
            high_watermark: r.i64()?,
            last_stable_offset: r.i64()?,
            log_start_offset: if version >= 5 { r.i64()? } else { -1 },
            diverging_epoch: EpochEndOffset::default(),
            current_leader: LeaderIdAndEpoch::default(),
            snapshot_id: SnapshotId::default(),
            aborted_transactions: r.nullable_array(version)?,
            preferred_read_replica: if version >= 11 { r.i32()? } else { -1 },
            records: r.nullable_records()?,
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 12 => this.diverging_epoch = EpochEndOffset::decode(r, version)?,
                1 if version >= 12 => this.current_leader = LeaderIdAndEpoch::decode(r, version)?,
                2 if version >= 12 => this.snapshot_id = SnapshotId::decode(r, version)?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition_index);
        w.i16(self.error_code);
        w.i64(self.high_watermark);
        w.i64(self.last_stable_offset);
        if version >= 5 {
            w.i64(self.log_start_offset);
        }
        if version < 12 && self.diverging_epoch != EpochEndOffset::default() {
            return Err(w.unsupported("PartitionData.diverging_epoch"));
        }
        if version < 12 && self.current_leader != LeaderIdAndEpoch::default() {
            return Err(w.unsupported("PartitionData.current_leader"));
        }
        if version < 12 && self.snapshot_id != SnapshotId::default() {
            return Err(w.unsupported("PartitionData.snapshot_id"));
        }
        w.nullable_array(self.aborted_transactions.as_deref(), version)?;
        if version >= 11 {
            w.i32(self.preferred_read_replica);
        } else if self.preferred_read_replica != -1 {
            return Err(w.unsupported("PartitionData.preferred_read_replica"));
        }
        w.nullable_records(self.records.as_ref())?;
        let has_diverging_epoch = version >= 12 && self.diverging_epoch != EpochEndOffset::default();
        let has_current_leader = version >= 12 && self.current_leader != LeaderIdAndEpoch::default();
        let has_snapshot_id = version >= 12 && self.snapshot_id != SnapshotId::default();
        w.tag_count(
            u32::from(has_diverging_epoch) + u32::from(has_current_leader) + u32::from(has_snapshot_id),
        );
        if has_diverging_epoch {
            let mut tag = w.tag();
            self.diverging_epoch.encode(&mut tag, version)?;
            w.put_tag(0, tag)?;
        }
        if has_current_leader {
            let mut tag = w.tag();
            self.current_leader.encode(&mut tag, version)?;
            w.put_tag(1, tag)?;
        }
        if has_snapshot_id {
            let mut tag = w.tag();
            self.snapshot_id.encode(&mut tag, version)?;
            w.put_tag(2, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EpochEndOffset {
    pub epoch: i32,
    pub end_offset: i64,
}

impl Default for EpochEndOffset {
    fn default() -> Self {
        Self {
            epoch: -1,
            end_offset: -1,
        }
    }
}

impl Message for EpochEndOffset {
    const SIZE_MIN: usize = 13;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            epoch: r.i32()?,
            end_offset: r.i64()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.epoch);
        w.i64(self.end_offset);
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

#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotId {
    pub end_offset: i64,
    pub epoch: i32,
}

impl Default for SnapshotId {
    fn default() -> Self {
        Self {
            end_offset: -1,
            epoch: -1,
        }
    }
}

impl Message for SnapshotId {
    const SIZE_MIN: usize = 13;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            end_offset: r.i64()?,
            epoch: r.i32()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i64(self.end_offset);
        w.i32(self.epoch);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

impl Message for AbortedTransaction {
    const SIZE_MIN: usize = 16;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            producer_id: r.i64()?,
            first_offset: r.i64()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i64(self.producer_id);
        w.i64(self.first_offset);
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
