// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ListGroupsRequest",
    versions: (0, 5),
    flexible_from: 3,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListGroupsRequest {
    pub states_filter: Vec<Str>,
    pub types_filter: Vec<Str>,
}

impl Message for ListGroupsRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            states_filter: if version >= 4 {
                r.array(version)?
            } else {
                Vec::new()
            },
            types_filter: if version >= 5 {
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
        if version >= 4 {
            w.array(&self.states_filter, version)?;
        } else if !self.states_filter.is_empty() {
            return Err(w.unsupported("ListGroupsRequest.states_filter"));
        }
        if version >= 5 {
            w.array(&self.types_filter, version)?;
        } else if !self.types_filter.is_empty() {
            return Err(w.unsupported("ListGroupsRequest.types_filter"));
        }
        w.no_tags();
        Ok(())
    }
}

impl Request for ListGroupsRequest {
    const KEY: ApiKey = ApiKey::ListGroups;
    type Response = super::ListGroupsResponse;
}
