//! Newtypes for every offset, epoch and id, so that none can be taken for another.

use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

newtype! {
    /// The position of a record in its partition, from 0. `-1` on the wire means "none".
    Offset(i64)
}
newtype! {
    /// How often the leadership of a partition has changed (KIP-101). `-1` on the wire means "unknown".
    LeaderEpoch(i32)
}
newtype! {
    /// A broker's id, from 0. `-1` on the wire means "none".
    BrokerId(i32)
}
newtype! {
    /// Drawn by the controller at each registration of a broker (KIP-903).
    BrokerEpoch(i64)
}
newtype! {
    /// An idempotent or transactional producer (KIP-98). `-1` on the wire means "none".
    ProducerId(i64)
}
newtype! {
    /// The incarnation of a producer id (KIP-98). `-1` on the wire means "none".
    ProducerEpoch(i16)
}
newtype! {
    /// The place of a partition in its topic, from 0.
    PartitionIndex(i32)
}

impl Offset {
    /// The offset `count` records further on.
    ///
    /// # Panics
    /// Never for offsets that came out of a log: 2^63 records do not fit on a disk. Saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl LeaderEpoch {
    /// What the wire says when the epoch is not known.
    pub const UNKNOWN: Self = Self(-1);
}

/// The 128 bits that Kafka calls a UUID: topic ids, directory ids, incarnations (KIP-516). Zero means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeroes: "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// From a slice, which must hold exactly 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// As Kafka prints it: 22 characters of URL-safe base64, without padding.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let text: String = (0..22)
            .map(|place| {
                // 22 characters hold 132 bits: the last one carries only two of them, shifted up by four.
                let shift = 122 - place * 6;
                let six = if shift >= 0 { bits >> shift } else { bits << -shift };
                char::from(BASE64_URL[(six & 63) as usize])
            })
            .collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a [`Uuid`] in Kafka's notation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an id of 22 characters in URL-safe base64")]
pub struct InvalidUuid(String);

impl std::str::FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidUuid(text.to_owned());
        if text.len() != 22 {
            return Err(invalid());
        }
        let mut bits: u128 = 0;
        for (place, character) in text.bytes().enumerate() {
            let six = BASE64_URL
                .iter()
                .position(|c| *c == character)
                .ok_or_else(invalid)? as u128;
            let shift = 122 - (place as i32) * 6;
            bits |= if shift >= 0 {
                six << shift
            } else if six & 15 == 0 {
                six >> -shift
            } else {
                return Err(invalid());
            };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_reads_back_as_kafka_prints_it() {
        let uuid = Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(uuid.to_string(), "AAECAwQFBgcICQoLDA0O_w");
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }

    #[test]
    fn uuid_of_wrong_length_or_alphabet_is_refused() {
        for text in [
            "",
            "AAECAwQFBgcICQoLDA0O",
            "AAECAwQFBgcICQoLDA0O_x",
            "AAECAwQFBgcICQoLDA0O!w",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid(text.to_owned())));
        }
    }
}
