// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::Uuid;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer, required};

const SCHEMA: Schema = Schema {
    name: "OffsetFetchRequest",
    versions: (1, 10),
    flexible_from: 6,
};

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetchRequest {
    pub group_id: Str,
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    pub groups: Vec<OffsetFetchRequestGroup>,
    pub require_stable: bool,
}

impl Default for OffsetFetchRequest {
    fn default() -> Self {
        Self {
            group_id: Str::default(),
            topics: Some(Vec::new()),
            groups: Vec::new(),
            require_stable: false,
        }
    }
}

impl Message for OffsetFetchRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            group_id: if version <= 7 { r.str()? } else { Str::default() },
            topics: if version <= 7 {
                if version >= 2 {
                    r.nullable_array(version)?
                } else {
                    Some(r.array(version)?)
                }
            } else {
                Some(Vec::new())
            },
            groups: if version >= 8 {
                r.array(version)?
            } else {
                Vec::new()
            },
            require_stable: if version >= 7 { r.bool()? } else { false },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version <= 7 {
            w.str(&self.group_id)?;
        } else if !self.group_id.is_empty() {
            return Err(w.unsupported("OffsetFetchRequest.group_id"));
        }
        if version <= 7 {
            if version >= 2 {
                w.nullable_array(self.topics.as_deref(), version)?;
            } else {
                w.array(
                    required(&self.topics, "OffsetFetchRequest.topics", version)?,
                    version,
                )?;
            }
        } else if !self.topics.as_ref().is_some_and(|value| value.is_empty()) {
            return Err(w.unsupported("OffsetFetchRequest.topics"));
        }
        if version >= 8 {
            w.array(&self.groups, version)?;
        } else if !self.groups.is_empty() {
            return Err(w.unsupported("OffsetFetchRequest.groups"));
        }
        if version >= 7 {
            w.bool(self.require_stable);
        } else if self.require_stable {
            return Err(w.unsupported("OffsetFetchRequest.require_stable"));
        }
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffsetFetchRequestTopic {
    pub name: Str,
    pub partition_indexes: Vec<i32>,
}

impl Message for OffsetFetchRequestTopic {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: r.str()?,
            partition_indexes: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.name)?;
        w.array(&self.partition_indexes, version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetchRequestGroup {
    pub group_id: Str,
    pub member_id: Option<Str>,
    pub member_epoch: i32,
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

impl Default for OffsetFetchRequestGroup {
    fn default() -> Self {
        Self {
            group_id: Str::default(),
            member_id: None,
            member_epoch: -1,
            topics: Some(Vec::new()),
        }
    }
}

impl Message for OffsetFetchRequestGroup {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            group_id: r.str()?,
            member_id: if version >= 9 { r.nullable_str()? } else { None },
            member_epoch: if version >= 9 { r.i32()? } else { -1 },
            topics: r.nullable_array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.group_id)?;
        if version >= 9 {
            w.nullable_str(self.member_id.as_ref())?;
        }
        if version >= 9 {
            w.i32(self.member_epoch);
        }
        w.nullable_array(self.topics.as_deref(), version)?;
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffsetFetchRequestTopics {
    pub name: Str,
    pub topic_id: Uuid,
    pub partition_indexes: Vec<i32>,
}

impl Message for OffsetFetchRequestTopics {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: if version <= 9 { r.str()? } else { Str::default() },
            topic_id: if version >= 10 { r.uuid()? } else { Uuid::ZERO },
            partition_indexes: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if version <= 9 {
            w.str(&self.name)?;
        }
        if version >= 10 {
            w.uuid(self.topic_id);
        }
        w.array(&self.partition_indexes, version)?;
        w.no_tags();
        Ok(())
    }
}

impl Request for OffsetFetchRequest {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    type Response = super::OffsetFetchResponse;
}
