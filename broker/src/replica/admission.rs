//! What a batch must be before a leader appends it. Needs no lock: the batch and the topic's settings decide.

use super::error::AppendError;
use bytes::{Bytes, BytesMut};
use flotilla_control::settings::{self, TopicConfig};
use flotilla_protocol::Offset;
use flotilla_protocol::records::{
    self, BatchBuilder, BatchError, BatchHeader, Compression, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Records,
};

/// A batch that may be appended, in memory of its own, with offset and epoch still to be set.
#[derive(Debug)]
pub(super) struct Admitted {
    pub bytes: BytesMut,
    pub header: BatchHeader,
}

/// Checks what a client produced. Records are looked at only where the topic asks for it: keys on a compacted one,
/// another codec than the producer's.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn admit(batch: &Bytes, config: &TopicConfig, now_ms: i64) -> Result<Admitted, AppendError> {
    if batch.is_empty() {
        return Err(AppendError::Empty);
    }
    let header = records::check(batch, records::Origin::Producer)?;
    check_size(batch.len(), config)?;
    if config.message_timestamp_type == settings::TimestampType::CreateTime {
        records::check_timestamps(
            &header,
            now_ms,
            config.message_timestamp_before_max_ms,
            config.message_timestamp_after_max_ms,
        )?;
    }
    let wanted = stored_as(config.compression_type).filter(|wanted| Ok(*wanted) != header.compression());
    if !config.cleanup_policy.compact && wanted.is_none() {
        let bytes = BytesMut::from(&batch[..]);
        return Ok(Admitted { bytes, header });
    }
    let payload = records::decompress(&header, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX)?;
    if config.cleanup_policy.compact {
        check_keys(&header, &payload)?;
    }
    let Some(wanted) = wanted else {
        let bytes = BytesMut::from(&batch[..]);
        return Ok(Admitted { bytes, header });
    };
    let bytes = compress_anew(&header, &payload, wanted, level(wanted, config))?;
    check_size(bytes.len(), config)?;
    let header = BatchHeader::parse(&bytes)?;
    Ok(Admitted { bytes, header })
}

/// Checks what a coordinator of this broker wrote.
///
/// # Errors
/// When it is not exactly one batch, or too large.
pub(super) fn admit_own(batch: &Bytes, config: &TopicConfig) -> Result<Admitted, AppendError> {
    let header = BatchHeader::parse(batch)?;
    if batch.len() != header.size_bytes() {
        let surplus = batch.len().saturating_sub(header.size_bytes());
        return Err(BatchError::TrailingBytes(surplus).into());
    }
    check_size(batch.len(), config)?;
    Ok(Admitted {
        bytes: BytesMut::from(&batch[..]),
        header,
    })
}

fn check_size(size_bytes: usize, config: &TopicConfig) -> Result<(), AppendError> {
    let limit = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let size_bytes_max = limit(config.max_message_bytes);
    if size_bytes > size_bytes_max {
        return Err(AppendError::TooLarge {
            size_bytes,
            size_bytes_max,
        });
    }
    let size_bytes_max = limit(config.segment_bytes);
    if size_bytes > size_bytes_max {
        return Err(AppendError::LargerThanSegment {
            size_bytes,
            size_bytes_max,
        });
    }
    Ok(())
}

fn stored_as(compression: settings::Compression) -> Option<Compression> {
    match compression {
        settings::Compression::Producer => None,
        settings::Compression::Uncompressed => Some(Compression::None),
        settings::Compression::Gzip => Some(Compression::Gzip),
        settings::Compression::Snappy => Some(Compression::Snappy),
        settings::Compression::Lz4 => Some(Compression::Lz4),
        settings::Compression::Zstd => Some(Compression::Zstd),
    }
}

/// How hard the topic wants a codec to try; `None`: as it does by itself.
fn level(compression: Compression, config: &TopicConfig) -> Option<i32> {
    match compression {
        Compression::Gzip => Some(config.compression_gzip_level).filter(|level| *level > 0),
        Compression::Zstd => Some(config.compression_zstd_level),
        Compression::None | Compression::Snappy | Compression::Lz4 => None,
    }
}

fn check_keys(header: &BatchHeader, payload: &[u8]) -> Result<(), AppendError> {
    let mut without_key = Vec::new();
    for (index, record) in (0..).zip(Records::new(header, payload)) {
        if record?.key.is_none() {
            without_key.push(index);
        }
    }
    if without_key.is_empty() {
        Ok(())
    } else {
        Err(AppendError::WithoutKey(without_key))
    }
}

fn compress_anew(
    header: &BatchHeader,
    payload: &[u8],
    compression: Compression,
    level: Option<i32>,
) -> Result<BytesMut, AppendError> {
    let mut builder = BatchBuilder::new(Offset(0)).compression(compression).level(level);
    if header.has_producer_id() {
        builder = builder.producer(header.producer_id, header.producer_epoch, header.base_sequence);
    }
    if header.is_transactional() {
        builder = builder.transactional();
    }
    for (delta, record) in (0..).zip(Records::new(header, payload)) {
        let record = record?;
        let headers: Vec<_> = record.headers().collect();
        builder.push_at(delta, record.timestamp_ms, record.key, record.value, &headers);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::{ProducerEpoch, ProducerId};
    use std::collections::BTreeMap;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn config(settings: &[(&str, &str)]) -> TopicConfig {
        let topic: BTreeMap<String, String> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        TopicConfig::resolve(&topic, &|_| None)
    }

    fn batch(key: Option<&[u8]>, timestamp_ms: i64) -> Bytes {
        let mut builder = BatchBuilder::new(Offset(0)).producer(ProducerId(7), ProducerEpoch(1), 5);
        for value in [&b"one"[..], b"two"] {
            builder.push(timestamp_ms, key, Some(value), &[(b"h", Some(b"v"))]);
        }
        builder.build().freeze()
    }

    #[test]
    fn bytes_of_an_ordinary_batch_are_kept() {
        let batch = batch(None, NOW_MS);
        let admitted = admit(&batch, &config(&[]), NOW_MS).unwrap();
        assert_eq!(admitted.bytes, batch);
    }

    #[test]
    fn nothing_is_no_batch() {
        let refused = admit(&Bytes::new(), &config(&[]), NOW_MS).unwrap_err();
        assert_eq!(refused, AppendError::Empty);
    }

    #[test]
    fn two_batches_in_one_request_are_refused() {
        let one = batch(None, NOW_MS);
        let two = Bytes::from([&one[..], &one[..]].concat());
        let refused = admit(&two, &config(&[]), NOW_MS).unwrap_err();
        assert_eq!(refused, AppendError::Batch(BatchError::TrailingBytes(one.len())));
    }

    #[test]
    fn size_limits_of_the_topic_hold() {
        let batch = batch(None, NOW_MS);
        let refused = admit(&batch, &config(&[("max.message.bytes", "50")]), NOW_MS).unwrap_err();
        assert_eq!(
            refused,
            AppendError::TooLarge {
                size_bytes: batch.len(),
                size_bytes_max: 50
            }
        );
    }

    #[test]
    fn record_without_key_is_refused_on_a_compacted_topic_by_its_place() {
        let compacted = config(&[("cleanup.policy", "compact")]);
        let refused = admit(&batch(None, NOW_MS), &compacted, NOW_MS).unwrap_err();
        assert_eq!(refused, AppendError::WithoutKey(vec![0, 1]));
        assert!(admit(&batch(Some(b"k"), NOW_MS), &compacted, NOW_MS).is_ok());
    }

    #[test]
    fn timestamp_out_of_bounds_is_refused_only_where_it_is_kept() {
        let bounds = [("message.timestamp.after.max.ms", "1000")];
        let refused = admit(&batch(None, NOW_MS + 1001), &config(&bounds), NOW_MS).unwrap_err();
        assert!(matches!(
            refused,
            AppendError::Batch(BatchError::Timestamp { .. })
        ));
        let ours = [bounds[0], ("message.timestamp.type", "LogAppendTime")];
        assert!(admit(&batch(None, NOW_MS + 1001), &config(&ours), NOW_MS).is_ok());
    }

    #[test]
    fn topic_with_a_codec_of_its_own_stores_the_same_records_with_it() {
        let original = batch(Some(b"k"), NOW_MS);
        for (name, codec) in [
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ] {
            let admitted = admit(&original, &config(&[("compression.type", name)]), NOW_MS).unwrap();
            assert_eq!(admitted.header.compression(), Ok(codec));
            assert_eq!(
                records::check(&admitted.bytes, records::Origin::Producer),
                Ok(admitted.header)
            );
            let back = admit(
                &admitted.bytes.freeze(),
                &config(&[("compression.type", "uncompressed")]),
                NOW_MS,
            )
            .unwrap();
            assert_eq!(back.bytes, original);
        }
    }

    #[test]
    fn level_of_a_topic_says_how_small_batches_become() {
        // Words that come again, but not at once: the harder a codec looks for them, the more it finds.
        let words: Vec<String> = (0..4_000_u32)
            .map(|n| format!("{:x}", n.wrapping_mul(n) % 9_973))
            .collect();
        let mut builder = BatchBuilder::new(Offset(0));
        builder.push(NOW_MS, None, Some(words.join(" ").as_bytes()), &[]);
        let batch = builder.build().freeze();
        let size = |codec: &str, level: Option<&str>| {
            let name = format!("compression.{codec}.level");
            let level = level.map(|level| (name.as_str(), level));
            let settings: Vec<_> = level.into_iter().chain([("compression.type", codec)]).collect();
            let admitted = admit(&batch, &config(&settings), NOW_MS).unwrap();
            let payload = &admitted.bytes[HEADER_BYTES..];
            let read = records::decompress(&admitted.header, payload, DECOMPRESSED_BYTES_MAX).unwrap();
            assert_eq!(&*read, &batch[HEADER_BYTES..], "{codec} {level:?}");
            admitted.bytes.len()
        };
        assert!(size("gzip", Some("9")) < size("gzip", Some("1")));
        assert_eq!(size("gzip", Some("-1")), size("gzip", Some("6")));
        assert_eq!(size("gzip", None), size("gzip", Some("-1")));
        assert!(size("zstd", Some("19")) < size("zstd", Some("3")));
        assert!(size("zstd", Some("3")) < size("zstd", Some("-131072")));
        assert_eq!(size("zstd", None), size("zstd", Some("3")));
    }

    #[test]
    fn transactional_batch_stays_one_when_it_is_compressed_anew() {
        let mut builder = BatchBuilder::new(Offset(0))
            .producer(ProducerId(7), ProducerEpoch(1), 5)
            .transactional();
        builder.push(NOW_MS, None, None, &[]);
        let compressed = config(&[("compression.type", "zstd")]);
        let admitted = admit(&builder.build().freeze(), &compressed, NOW_MS).unwrap();
        assert_eq!(admitted.header.compression(), Ok(Compression::Zstd));
        assert!(admitted.header.is_transactional());
    }

    #[test]
    fn flipped_bit_is_refused() {
        let mut bytes = batch(None, NOW_MS).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let refused = admit(&bytes.into(), &config(&[]), NOW_MS).unwrap_err();
        assert!(matches!(refused, AppendError::Batch(BatchError::Crc { .. })));
    }
}
