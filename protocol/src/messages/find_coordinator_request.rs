// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "FindCoordinatorRequest",
    versions: (0, 6),
    flexible_from: 3,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FindCoordinatorRequest {
    pub key: Str,
    pub key_type: i8,
    pub coordinator_keys: Vec<Str>,
}

impl Message for FindCoordinatorRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            key: if version <= 3 { r.str()? } else { Str::default() },
            key_type: if version >= 1 { r.i8()? } else { 0 },
            coordinator_keys: if version >= 4 {
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
        if version <= 3 {
            w.str(&self.key)?;
        } else if !self.key.is_empty() {
            return Err(w.unsupported("FindCoordinatorRequest.key"));
        }
        if version >= 1 {
            w.i8(self.key_type);
        } else if self.key_type != 0 {
            return Err(w.unsupported("FindCoordinatorRequest.key_type"));
        }
        if version >= 4 {
            w.array(&self.coordinator_keys, version)?;
        } else if !self.coordinator_keys.is_empty() {
            return Err(w.unsupported("FindCoordinatorRequest.coordinator_keys"));
        }
        w.no_tags();
        Ok(())
    }
}

impl Request for FindCoordinatorRequest {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    type Response = super::FindCoordinatorResponse;
}
