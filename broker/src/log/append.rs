//! Adding batches at the end of the log, and going on to the next segment.

use std::ffi::OsStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flotilla_protocol::records::{
    BatchError, BatchHeader, EndTransactionMarker, HEADER_BYTES, Origin, Records, TimestampType, check,
    parse_batches, set_base_offset, set_leader_epoch, set_log_append_time, set_max_timestamp,
};
use flotilla_protocol::{LeaderEpoch, Offset};

use super::Log;
use super::aborted::{self, Aborted};
use super::checkpoint::Durability;
use super::error::{During, Error};
use super::reserve::{give_back, reserve};
use super::segment::{Active, FileKind, Sealed, finish_indexes, write_indexes};
use super::sync::sync_names;

/// Where batches went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's time that all records have now, if the topic says `LogAppendTime`; in milliseconds of the epoch.
    pub log_append_time_ms: Option<i64>,
    /// Bytes that were appended.
    pub size_bytes: usize,
}

/// A batch in the bytes that are appended: where, and what its header says there.
type Placed = (usize, BatchHeader);

impl Log {
    /// Appends as the leader: gives the batches their offsets and its epoch, and its time where the topic says so.
    ///
    /// The batches have passed [`check`] and the [producer state](Log::producers). `batches` must be an allocation of
    /// its own: part of it stays in memory for those who read the end of the log.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Batch`] where the bytes are no batches, and those of the disk. Nothing is
    /// appended then.
    pub fn append_leader(
        &mut self,
        mut batches: BytesMut,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, Error> {
        self.check_usable()?;
        let mut placed = placed(&batches)?;
        let segment_bytes = u64::from(self.config.segment_bytes);
        if batches.len() as u64 > segment_bytes {
            return Err(Error::TooLarge {
                size_bytes: batches.len() as u64,
                segment_bytes,
            });
        }
        let log_append_time_ms = match self.config.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(now_ms),
        };
        let first_offset = self.log_end;
        let mut next = first_offset;
        for (position, header) in &mut placed {
            let batch = &mut batches[*position..*position + header.size_bytes()];
            set_base_offset(batch, next);
            set_leader_epoch(batch, epoch);
            if let Some(now_ms) = log_append_time_ms {
                set_log_append_time(batch, now_ms);
            } else if header.max_timestamp_ms < header.base_timestamp_ms && !header.has_delete_horizon() {
                // Some clients leave the latest timestamp out; the first record's is the least that it can be.
                set_max_timestamp(batch, TimestampType::CreateTime, header.base_timestamp_ms);
            }
            *header = BatchHeader::parse(batch)?;
            next = header.next_offset();
        }
        let batches = batches.freeze();
        self.write(&batches, &placed, now_ms)?;
        self.tail.push(first_offset, next, batches.clone());
        let last_offset = next.plus(-1);
        Ok(Appended {
            first_offset,
            last_offset,
            log_append_time_ms,
            size_bytes: batches.len(),
        })
    }

    /// Appends what a leader sent: offsets and epochs stay as they are, and each batch is checked. A last batch that
    /// is cut off is left out.
    ///
    /// # Errors
    /// [`Error::Unordered`], [`Error::Batch`], and those of the disk. Batches before the offending one are appended.
    pub fn append_follower(&mut self, batches: &Bytes, now_ms: i64) -> Result<Option<Appended>, Error> {
        self.check_usable()?;
        let first_end = self.log_end;
        let mut good: Vec<Placed> = Vec::new();
        let mut expected = self.log_end;
        let mut inside = None;
        let mut refused = None;
        for parsed in parse_batches(batches) {
            let checked = match parsed {
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => Err(Error::Batch(error)),
                Ok((position, header, batch)) => match check(batch, Origin::Log) {
                    Ok(_) if header.base_offset >= expected => Ok((position, header)),
                    Ok(_) if good.is_empty() && self.begins_inside(&header) => {
                        inside = Some((header.base_offset, self.log_start));
                        Ok((position, header))
                    }
                    Ok(_) => Err(Error::Unordered {
                        expected,
                        found: header.base_offset,
                    }),
                    Err(error) => Err(Error::Batch(error)),
                },
            };
            match checked {
                Ok(batch) => {
                    expected = batch.1.next_offset();
                    good.push(batch);
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if let Some((base, _)) = inside {
            self.start_over_at(base)?;
        }
        let mut rest = good.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(self.fitting(rest));
            rest = after;
            let start = run[0].0;
            let end = run
                .last()
                .map_or(start, |(position, header)| position + header.size_bytes());
            let placed: Vec<Placed> = run
                .iter()
                .map(|(position, header)| (position - start, *header))
                .collect();
            self.write(&batches[start..end], &placed, now_ms)?;
        }
        if let Some((_, start)) = inside {
            self.advance_start(start)?;
        }
        // What other brokers sent lies in the buffer of a whole response: too much to keep for the tail.
        self.tail.clear();
        if let Some(error) = refused {
            return Err(error);
        }
        Ok(good.first().map(|(_, first)| Appended {
            first_offset: first.base_offset.max(first_end),
            last_offset: self.log_end.plus(-1),
            log_append_time_ms: None,
            size_bytes: good.iter().map(|(_, header)| header.size_bytes()).sum(),
        }))
    }

    /// Whether the log is still empty and begins inside of that batch, as DeleteRecords may have it: then the batch comes first, whole.
    fn begins_inside(&self, header: &BatchHeader) -> bool {
        self.size_bytes == 0 && header.base_offset < self.log_start && header.next_offset() > self.log_start
    }

    /// How many of these batches go into one segment together; at least one.
    fn fitting(&self, batches: &[Placed]) -> usize {
        let segment_bytes = u64::from(self.config.segment_bytes);
        let size = |(_, header): &Placed| header.size_bytes() as u64;
        let mut left =
            segment_bytes.saturating_sub(self.active.as_ref().map_or(0, |active| active.size_bytes));
        if batches.first().is_some_and(|first| size(first) > left) {
            left = segment_bytes;
        }
        let fits = batches.iter().take_while(|batch| {
            let fits = size(batch) <= left;
            left = left.saturating_sub(size(batch));
            fits
        });
        fits.count().max(1)
    }

    /// Writes batches that have their offsets into one segment, and notes them everywhere.
    fn write(&mut self, bytes: &[u8], placed: &[Placed], now_ms: i64) -> Result<(), Error> {
        let (Some((_, first)), Some((_, last))) = (placed.first(), placed.last()) else {
            return Ok(());
        };
        let max_timestamp_ms = placed
            .iter()
            .map(|(_, header)| header.max_timestamp_ms)
            .max()
            .unwrap_or(-1);
        if self.roll_is_due(bytes.len() as u64, max_timestamp_ms, last.last_offset(), now_ms) {
            self.roll(now_ms)?;
        }
        if self.active.is_none() {
            self.begin_in_new_dir(first.base_offset, now_ms)?;
        }
        let active = self
            .active
            .as_mut()
            .expect("a segment was just begun if there was none");
        let path = FileKind::Log.path(&self.dir, active.base);
        let start = active.size_bytes;
        let end = start + bytes.len() as u64;
        reserve(&*self.storage.disk, &path, active, end, &self.config);
        if let Err(source) = self.storage.disk.write_at(&path, start, bytes) {
            // What was written of it must not be found behind what comes next.
            self.failed = self.storage.disk.truncate(&path, start).is_err();
            active.reserved_bytes = 0;
            return Err(Error::Io {
                action: "write",
                path,
                source,
            });
        }
        self.changed = true;
        active.size_bytes += bytes.len() as u64;
        active.modified_ms = now_ms;
        if start == 0 {
            active.created_ms = now_ms;
            active.first_timestamp_ms = first.max_timestamp_ms;
        }
        for (position, header) in placed {
            let size = header.size_bytes();
            let (at, interval) = (start + *position as u64, self.config.index_interval_bytes);
            active.indexes.add_batch(at, header, interval);
            self.epochs
                .assign(header.partition_leader_epoch, header.base_offset);
            if let Some(aborted) =
                note_producer(&mut self.producers, header, &bytes[*position..*position + size])
            {
                Arc::make_mut(&mut active.aborted).push(aborted);
            }
        }
        self.size_bytes += bytes.len() as u64;
        self.log_end = last.next_offset();
        if active.indexes.offsets.is_pending_full() {
            // The data is in the log already: an index that cannot be written now is written later or built anew.
            let written = write_indexes(&*self.storage.disk, &self.dir, active.base, &mut active.indexes);
            if let Err(error) = written {
                tracing::warn!(%error, "cannot write an index");
            }
        }
        Ok(())
    }

    fn roll_is_due(&self, size: u64, max_timestamp_ms: i64, last: Offset, now_ms: i64) -> bool {
        let Some(active) = self.active.as_ref().filter(|active| active.size_bytes > 0) else {
            return false;
        };
        let waited_ms = if active.first_timestamp_ms >= 0 && max_timestamp_ms >= 0 {
            max_timestamp_ms.saturating_sub(active.first_timestamp_ms)
        } else {
            now_ms.saturating_sub(active.created_ms)
        };
        active.size_bytes + size > u64::from(self.config.segment_bytes)
            || waited_ms > self.config.segment_ms_max() - self.jitter_ms(active.base)
            || active.indexes.is_full(self.config.segment_index_bytes)
            || last.0 - active.base.0 > i64::from(i32::MAX)
    }

    /// By how much sooner a segment is ended (`segment.jitter.ms`), so that many logs that began together do not end their segments
    /// together. It follows from the names of log and segment: that makes it another one for each, and the same after a restart.
    fn jitter_ms(&self, base: Offset) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms_max());
        if most <= 0 {
            return 0;
        }
        let name = self.dir.file_name().map_or(&[][..], OsStr::as_encoded_bytes);
        let drawn = crc32c::crc32c_append(crc32c::crc32c(name), &base.0.to_be_bytes());
        i64::from(drawn) % most
    }

    /// Ends the active segment, durably, and begins the next.
    ///
    /// # Errors
    /// Those of the disk. The active segment stays the active one then.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), Error> {
        let Some(mut active) = self.active.take() else {
            return Ok(());
        };
        if active.size_bytes == 0 {
            self.active = Some(active);
            return Ok(());
        }
        let ended = self
            .end_segment(&mut active)
            .and_then(|()| self.begin_segment(self.log_end, now_ms));
        if let Err(error) = ended {
            self.failed |= matches!(error, Error::Sync { .. });
            self.active = Some(active);
            return Err(error);
        }
        self.sealed.push(Sealed::finished(&active));
        Ok(())
    }

    fn end_segment(&mut self, active: &mut Active) -> Result<(), Error> {
        self.sync_new_names()?;
        let disk = &*self.storage.disk;
        let path = FileKind::Log.path(&self.dir, active.base);
        give_back(disk, &path, active)?;
        disk.sync(&path).during_sync(&path)?;
        self.synced_end = self.log_end;
        finish_indexes(disk, &self.dir, active.base, &mut active.indexes)?;
        aborted::write(disk, &self.dir, active.base, &active.aborted, Durability::Synced)?;
        self.epochs
            .persist(disk, &self.dir, Durability::Synced)
            .during("write", &self.dir)?;
        self.write_snapshot()
    }

    /// Creates an empty segment, durably.
    pub(super) fn begin_segment(&mut self, base: Offset, now_ms: i64) -> Result<(), Error> {
        self.create_segment(base, now_ms)?;
        if self.sealed.is_empty() {
            // The directory may be as new as the segment.
            self.is_new = true;
            return self.sync_new_names();
        }
        self.storage.disk.sync_dir(&self.dir).during_sync(&self.dir)
    }

    /// Makes the names of a log durable that was made a moment ago.
    pub(super) fn sync_new_names(&mut self) -> Result<(), Error> {
        if self.is_new {
            sync_names(&*self.storage.disk, &self.dir)?;
            self.is_new = false;
        }
        Ok(())
    }

    /// Creates the segment of a log that has none. Its names are synced with what is appended to it: where thousands of partitions
    /// are new, that is done by those who sync, and for many at once.
    fn begin_in_new_dir(&mut self, base: Offset, now_ms: i64) -> Result<(), Error> {
        if !self.sealed.is_empty() {
            return self.begin_segment(base, now_ms);
        }
        self.create_segment(base, now_ms)?;
        self.is_new = true;
        Ok(())
    }

    fn create_segment(&mut self, base: Offset, now_ms: i64) -> Result<(), Error> {
        let path = FileKind::Log.path(&self.dir, base);
        self.storage.disk.create(&path).during("create", &path)?;
        self.changed = true;
        self.active = Some(Active::new(base, now_ms));
        Ok(())
    }
}

fn placed(batches: &[u8]) -> Result<Vec<Placed>, Error> {
    let placed: Vec<Placed> = parse_batches(batches)
        .map(|batch| {
            let (position, header, _) = batch?;
            match header {
                BatchHeader {
                    last_offset_delta,
                    records_count,
                    ..
                } if last_offset_delta < 0 => Err(BatchError::Count {
                    records_count,
                    last_offset_delta,
                }),
                header => Ok((position, header)),
            }
        })
        .collect::<Result<_, BatchError>>()?;
    if placed.is_empty() {
        return Err(BatchError::Truncated {
            needed: HEADER_BYTES as u64,
            available: 0,
        }
        .into());
    }
    Ok(placed)
}

/// Tells the producer state of a batch that is in the log now. Gives the transaction that it aborts.
pub(super) fn note_producer(
    producers: &mut crate::partition::producer_state::ProducerState,
    header: &BatchHeader,
    batch: &[u8],
) -> Option<Aborted> {
    if !header.has_producer_id() {
        return None;
    }
    let marker = header.is_control().then(|| {
        let record = Records::new(header, &batch[HEADER_BYTES..]).next()?.ok()?;
        EndTransactionMarker::from_record(&record).ok().flatten()
    });
    let ended = producers.append(header, marker.flatten())?;
    (!ended.committed).then_some(Aborted {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.last_offset,
        stable_to: ended.stable_to,
    })
}
