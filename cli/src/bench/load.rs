//! What is written: batches that are prepared once, or batches whose records say when they were due.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::{self, BatchBuilder, BatchHeader, Compression};

use super::options::Load;

/// Bytes at the beginning of a stamped value: nanoseconds from the beginning of the run until the record was due.
const STAMP_BYTES: usize = size_of::<u64>();

/// Makes batches of a load.
pub struct Batches {
    value: Vec<u8>,
    compression: Compression,
    /// Records of a full batch.
    full: u64,
    prepared: BTreeMap<u64, Bytes>,
}

impl Batches {
    /// For one connection.
    pub fn new(load: &Load) -> Self {
        let value = text(load.record_size as usize);
        let mut builder = BatchBuilder::new(Offset(0));
        let mut full = 0;
        loop {
            builder.push(0, None, Some(&value), &[]);
            if full > 0 && builder.size_bytes() > load.batch_size as usize {
                break;
            }
            full += 1;
        }
        Self {
            value,
            compression: load.compression.into(),
            full,
            prepared: BTreeMap::new(),
        }
    }

    /// Records of a full batch.
    pub fn full(&self) -> u64 {
        self.full
    }

    /// A batch of `records` records, made the first time that it is asked for. Its timestamps are from then.
    pub fn prepared(&mut self, records: u64) -> Bytes {
        let Self {
            value,
            compression,
            prepared,
            ..
        } = self;
        let batch = prepared.entry(records).or_insert_with(|| {
            let mut builder = BatchBuilder::new(Offset(0)).compression(*compression);
            let now_ms = now_ms();
            (0..records).for_each(|_| builder.push(now_ms, None, Some(value), &[]));
            builder.build().freeze()
        });
        batch.clone()
    }

    /// A batch whose records say when each was due, counted from the beginning of the run.
    pub fn stamped(&mut self, due: impl Iterator<Item = Duration>) -> Bytes {
        let mut builder = BatchBuilder::new(Offset(0)).compression(self.compression);
        let now_ms = now_ms();
        for due in due {
            let nanos = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
            self.value[..STAMP_BYTES].copy_from_slice(&nanos.to_be_bytes());
            builder.push(now_ms, None, Some(&self.value), &[]);
        }
        builder.build().freeze()
    }
}

/// What the stamps in a batch say of each record's age at `now`.
pub fn ages(
    batch: &[u8],
    header: &BatchHeader,
    began: Instant,
    now: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let payload = records::decompress(
        header,
        &batch[records::HEADER_BYTES..],
        records::DECOMPRESSED_BYTES_MAX,
    )?;
    let elapsed = now.duration_since(began);
    records::Records::new(header, &payload)
        .map(|record| {
            let value = record?.value.unwrap_or_default();
            let stamp = value
                .first_chunk::<STAMP_BYTES>()
                .context("there is a record that this run has not written: use a topic of its own")?;
            Ok(elapsed.saturating_sub(Duration::from_nanos(u64::from_be_bytes(*stamp))))
        })
        .collect()
}

/// Letters and digits at random, always the same ones: codecs make about three quarters of it.
fn text(length: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            // Knuth's multiplier (MMIX).
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            LETTERS[(state >> 58) as usize]
        })
        .collect()
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::options::{Acks, Codec};
    use flotilla_protocol::records::{Origin, check};

    fn load(record_size: u32, batch_size: u32, compression: Codec) -> Load {
        Load {
            record_size,
            batch_size,
            compression,
            acks: Acks::All,
            in_flight: 5,
            rate: None,
            linger: Duration::from_millis(5),
        }
    }

    #[test]
    fn full_batch_is_as_large_as_asked_for_and_has_at_least_one_record() {
        let mut batches = Batches::new(&load(1000, 16_384, Codec::None));
        assert_eq!(batches.full(), 16);
        let bytes = batches.prepared(16);
        assert!((16_000..=16_384).contains(&bytes.len()), "{}", bytes.len());
        let header = check(&bytes, Origin::Producer).expect("a batch that brokers take");
        assert_eq!(header.records_count, 16);
        assert_eq!(Batches::new(&load(50_000, 16_384, Codec::None)).full(), 1);
    }

    #[test]
    fn stamps_come_back_as_ages_in_every_codec() {
        let began = Instant::now();
        let ms = Duration::from_millis;
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut batches = Batches::new(&load(100, 16_384, codec));
            let batch = batches.stamped([ms(10), ms(20)].into_iter());
            let header = check(&batch, Origin::Producer).expect("a batch that brokers take");
            let ages = ages(&batch, &header, began, began + ms(50)).expect("stamps");
            assert_eq!(ages, [ms(40), ms(30)], "{codec:?}");
        }
    }

    #[test]
    fn values_without_a_stamp_are_told_apart() {
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(0, None, Some(b"short"), &[]);
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).expect("a header");
        let now = Instant::now();
        let error = ages(&batch, &header, now, now).expect_err("no stamp");
        assert!(error.to_string().contains("use a topic of its own"), "{error}");
    }
}
