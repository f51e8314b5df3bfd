//! How ids stand in the file: a UUID as Kafka prints it, a broker id as a number.

use flotilla_protocol::Uuid;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

pub(super) mod broker_id {
    use flotilla_protocol::BrokerId;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        id: &BrokerId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(id.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BrokerId, D::Error> {
        let id = i32::deserialize(deserializer)?;
        if id < 0 {
            return Err(D::Error::custom(format!("a broker id is at least 0, not {id}")));
        }
        Ok(BrokerId(id))
    }
}
