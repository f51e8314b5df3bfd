// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "FindCoordinatorResponse",
    versions: (0, 6),
    flexible_from: 3,
};

#[derive(Clone, Debug, PartialEq)]
pub struct FindCoordinatorResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub error_message: Option<Str>,
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    pub coordinators: Vec<Coordinator>,
}

impl Default for FindCoordinatorResponse {
    fn default() -> Self {
        Self {
            throttle_time_ms: 0,
            error_code: 0,
            error_message: Some(Str::default()),
            node_id: 0,
            host: Str::default(),
            port: 0,
            coordinators: Vec::new(),
        }
    }
}

impl Message for FindCoordinatorResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
            error_code: if version <= 3 { r.i16()? } else { 0 },
            error_message: if (1..=3).contains(&version) {
                r.nullable_str()?
            } else {
                Some(Str::default())
            },
            node_id: if version <= 3 { r.i32()? } else { 0 },
            host: if version <= 3 { r.str()? } else { Str::default() },
            port: if version <= 3 { r.i32()? } else { 0 },
            coordinators: if version >= 4 {
                r.array(version)?
            } else {
                Vec::new()
            },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 1 {
            w.i32(self.throttle_time_ms);
        }
        if version <= 3 {
            w.i16(self.error_code);
        } else if self.error_code != 0 {
            return Err(w.unsupported("FindCoordinatorResponse.error_code"));
        }
        if (1..=3).contains(&version) {
            w.nullable_str(self.error_message.as_ref())?;
        }
        if version <= 3 {
            w.i32(self.node_id);
        } else if self.node_id != 0 {
            return Err(w.unsupported("FindCoordinatorResponse.node_id"));
        }
        if version <= 3 {
            w.str(&self.host)?;
        } else if !self.host.is_empty() {
            return Err(w.unsupported("FindCoordinatorResponse.host"));
        }
        if version <= 3 {
            w.i32(self.port);
        } else if self.port != 0 {
            return Err(w.unsupported("FindCoordinatorResponse.port"));
        }
        if version >= 4 {
            w.array(&self.coordinators, version)?;
        } else if !self.coordinators.is_empty() {
            return Err(w.unsupported("FindCoordinatorResponse.coordinators"));
        }
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Coordinator {
    pub key: Str,
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    pub error_code: i16,
    pub error_message: Option<Str>,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            key: Str::default(),
            node_id: 0,
            host: Str::default(),
            port: 0,
            error_code: 0,
            error_message: Some(Str::default()),
        }
    }
}

impl Message for Coordinator {
    const SIZE_MIN: usize = 14;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            key: r.str()?,
            node_id: r.i32()?,
            host: r.str()?,
            port: r.i32()?,
            error_code: r.i16()?,
            error_message: r.nullable_str()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.key)?;
        w.i32(self.node_id);
        w.str(&self.host)?;
        w.i32(self.port);
        w.i16(self.error_code);
        w.nullable_str(self.error_message.as_ref())?;
        w.no_tags();
        Ok(())
    }
}
