// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ApiVersionsRequest",
    versions: (0, 4),
    flexible_from: 3,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiVersionsRequest {
    pub client_software_name: Str,
    pub client_software_version: Str,
}

impl Message for ApiVersionsRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            client_software_name: if version >= 3 { r.str()? } else { Str::default() },
            client_software_version: if version >= 3 { r.str()? } else { Str::default() },
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 3 {
            w.str(&self.client_software_name)?;
        }
        if version >= 3 {
            w.str(&self.client_software_version)?;
        }
        w.no_tags();
        Ok(())
    }
}

impl Request for ApiVersionsRequest {
    const KEY: ApiKey = ApiKey::ApiVersions;
    type Response = super::ApiVersionsResponse;
}
