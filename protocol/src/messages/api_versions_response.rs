// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.

use crate::wire::{DecodeError, EncodeError, Message, Reader, Schema, Str, Writer};

const SCHEMA: Schema = Schema {
    name: "ApiVersionsResponse",
    versions: (0, 4),
    flexible_from: 3,
};

#[derive(Clone, Debug, PartialEq)]
pub struct ApiVersionsResponse {
    pub error_code: i16,
    pub api_keys: Vec<ApiVersion>,
    pub throttle_time_ms: i32,
    pub supported_features: Vec<SupportedFeatureKey>,
    pub finalized_features_epoch: i64,
    pub finalized_features: Vec<FinalizedFeatureKey>,
    pub zk_migration_ready: bool,
}

impl Default for ApiVersionsResponse {
    fn default() -> Self {
        Self {
            error_code: 0,
            api_keys: Vec::new(),
            throttle_time_ms: 0,
            supported_features: Vec::new(),
            finalized_features_epoch: -1,
            finalized_features: Vec::new(),
            zk_migration_ready: false,
        }
    }
}

impl Message for ApiVersionsResponse {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&SCHEMA, version)?;
        let mut this = Self {
            error_code: r.i16()?,
            api_keys: r.array(version)?,
            throttle_time_ms: if version >= 1 { r.i32()? } else { 0 },
            supported_features: Vec::new(),
            finalized_features_epoch: -1,
            finalized_features: Vec::new(),
            zk_migration_ready: false,
        };
        for _ in 0..r.tag_count()? {
            let tag = r.tag()?;
            match tag.number {
                0 if version >= 3 => this.supported_features = r.array(version)?,
                1 if version >= 3 => this.finalized_features_epoch = r.i64()?,
                2 if version >= 3 => this.finalized_features = r.array(version)?,
                3 if version >= 3 => this.zk_migration_ready = r.bool()?,
                _ => r.skip_tag(&tag),
            }
            r.end_tag(&tag)?;
        }
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&SCHEMA, version)?;
        w.i16(self.error_code);
        w.array(&self.api_keys, version)?;
        if version >= 1 {
            w.i32(self.throttle_time_ms);
        }
        let has_supported_features = version >= 3 && !self.supported_features.is_empty();
        let has_finalized_features_epoch = version >= 3 && self.finalized_features_epoch != -1;
        let has_finalized_features = version >= 3 && !self.finalized_features.is_empty();
        let has_zk_migration_ready = version >= 3 && self.zk_migration_ready;
        w.tag_count(
            u32::from(has_supported_features)
                + u32::from(has_finalized_features_epoch)
                + u32::from(has_finalized_features)
                + u32::from(has_zk_migration_ready),
        );
        if has_supported_features {
            let mut tag = w.tag();
            tag.array(&self.supported_features, version)?;
            w.put_tag(0, tag)?;
        }
        if has_finalized_features_epoch {
            let mut tag = w.tag();
            tag.i64(self.finalized_features_epoch);
            w.put_tag(1, tag)?;
        }
        if has_finalized_features {
            let mut tag = w.tag();
            tag.array(&self.finalized_features, version)?;
            w.put_tag(2, tag)?;
        }
        if has_zk_migration_ready {
            let mut tag = w.tag();
            tag.bool(self.zk_migration_ready);
            w.put_tag(3, tag)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiVersion {
    pub api_key: i16,
    pub min_version: i16,
    pub max_version: i16,
}

impl Message for ApiVersion {
    const SIZE_MIN: usize = 6;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            api_key: r.i16()?,
            min_version: r.i16()?,
            max_version: r.i16()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i16(self.api_key);
        w.i16(self.min_version);
        w.i16(self.max_version);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupportedFeatureKey {
    pub name: Str,
    pub min_version: i16,
    pub max_version: i16,
}

impl Message for SupportedFeatureKey {
    const SIZE_MIN: usize = 6;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: r.str()?,
            min_version: r.i16()?,
            max_version: r.i16()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.name)?;
        w.i16(self.min_version);
        w.i16(self.max_version);
        w.no_tags();
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FinalizedFeatureKey {
    pub name: Str,
    pub max_version_level: i16,
    pub min_version_level: i16,
}

impl Message for FinalizedFeatureKey {
    const SIZE_MIN: usize = 6;

    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            name: r.str()?,
            max_version_level: r.i16()?,
            min_version_level: r.i16()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.str(&self.name)?;
        w.i16(self.max_version_level);
        w.i16(self.min_version_level);
        w.no_tags();
        Ok(())
    }
}
