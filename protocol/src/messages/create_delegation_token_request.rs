// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use super::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "CreateDelegationTokenRequest",
    versions: (1, 3),
    flexible_from: 2,
};

#[derive(Clone, Debug, PartialEq)]
pub struct CreateDelegationTokenRequest {
    pub owner_principal_type: Option<Str>,
    pub owner_principal_name: Option<Str>,
    pub renewers: Vec<CreatableRenewers>,
    pub max_lifetime_ms: i64,
}

impl Default for CreateDelegationTokenRequest {
    fn default() -> Self {
        Self {
            owner_principal_type: Some(Str::default()),
            owner_principal_name: Some(Str::default()),
            renewers: Vec::new(),
            max_lifetime_ms: 0,
        }
    }
}

impl Message for CreateDelegationTokenRequest {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let this = Self {
            owner_principal_type: if version >= 3 {
                r.nullable_str()?
            } else {
                Some(Str::default())
            },
            owner_principal_name: if version >= 3 {
                r.nullable_str()?
            } else {
                Some(Str::default())
            },
            renewers: r.array(version)?,
            max_lifetime_ms: r.i64()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        if version >= 3 {
            w.nullable_str(self.owner_principal_type.as_ref())?;
        } else if !self
            .owner_principal_type
            .as_ref()
            .is_some_and(|value| value.is_empty())
        {
            return Err(w.unsupported("CreateDelegationTokenRequest.owner_principal_type"));
        }
        if version >= 3 {
            w.nullable_str(self.owner_principal_name.as_ref())?;
        } else if !self
            .owner_principal_name
            .as_ref()
            .is_some_and(|value| value.is_empty())
        {
            return Err(w.unsupported("CreateDelegationTokenRequest.owner_principal_name"));
        }
        w.array(&self.renewers, version)?;
        w.i64(self.max_lifetime_ms);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreatableRenewers {
    pub principal_type: Str,
    pub principal_name: Str,
}

impl Message for CreatableRenewers {
    const SIZE_MIN: usize = 3;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            principal_type: r.str()?,
            principal_name: r.str()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.principal_type)?;
        w.str(&self.principal_name)?;
        w.no_tags();
        Ok(())
    }
}

impl Request for CreateDelegationTokenRequest {
    const KEY: ApiKey = ApiKey::CreateDelegationToken;
    type Response = super::CreateDelegationTokenResponse;
}
