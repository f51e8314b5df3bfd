//! What a start finds of moves: copies that are to be begun anew, and partitions that lie on two volumes since the broker was killed
//! between two steps.

use super::Moves;
use crate::log::{self, Log, Opened, Storage, TailBudget, moves_of, take_away};
use crate::replica::PartitionKey;
use crate::replica::hosted::Hosted;
use crate::replica::open::OpenError;
use crate::replica::replicas::Replicas;
use crate::replica::volume::Volume;
use flotilla_protocol::{PartitionIndex, Uuid};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where a partition lies: on which volume, and in which place of what was found there.
type Place = (usize, usize);

/// Leaves of each partition that lies on two volumes the directory that it was moved to.
///
/// # Errors
/// [`OpenError::Twice`] where nobody can tell which that is, and those of the disks.
pub(in crate::replica) fn settle_doubles(found: &mut [(Arc<Volume>, Opened)]) -> Result<(), OpenError> {
    let mut places: BTreeMap<(String, PartitionIndex, Uuid), Vec<Place>> = BTreeMap::new();
    for (volume, (_, opened)) in found.iter().enumerate() {
        for (place, dir) in opened.partitions.iter().enumerate() {
            if let Some(topic_id) = dir.topic_id {
                let name = (dir.topic.clone(), dir.partition, topic_id);
                places.entry(name).or_default().push((volume, place));
            }
        }
    }
    let mut behind: Vec<Place> = Vec::new();
    for places in places.into_values().filter(|places| places.len() > 1) {
        behind.extend(all_but_latest(found, &places)?);
    }
    // From the last on, so that the places before stay what they are.
    behind.sort_unstable_by(|a, b| b.cmp(a));
    for (volume, place) in behind {
        let (volume, opened) = &mut found[volume];
        let dir = opened.partitions.remove(place);
        tracing::info!(path = %dir.path.display(), "the replica was moved to another volume, and is removed here");
        let unique = Uuid(*uuid::Uuid::new_v4().as_bytes());
        let disk = &**volume.files().disk();
        let removed = take_away(disk, &dir.path, unique).and_then(|path| {
            disk.remove_dir(&path).map_err(|source| log::Error::Io {
                action: "remove",
                path,
                source,
            })
        });
        removed.map_err(|source| OpenError::Log {
            topic: dir.topic,
            partition: dir.partition.0,
            source,
        })?;
    }
    Ok(())
}

/// All of these places but the one that was moved to last.
fn all_but_latest(found: &[(Arc<Volume>, Opened)], places: &[Place]) -> Result<Vec<Place>, OpenError> {
    let dir_of = |(volume, place): Place| &found[volume].1.partitions[place];
    let mut counted = Vec::new();
    for place in places {
        let dir = dir_of(*place);
        let moves = moves_of(&**found[place.0].0.files().disk(), &dir.path);
        let moves = moves.map_err(|source| OpenError::Log {
            topic: dir.topic.clone(),
            partition: dir.partition.0,
            source,
        })?;
        counted.push((moves, *place));
    }
    counted.sort_unstable();
    let is_known = counted.iter().all(|(moves, _)| moves.is_some());
    match counted.as_slice() {
        [.., (before, _), (latest, _)] if is_known && before < latest => {
            counted.pop();
            Ok(counted.into_iter().map(|(_, place)| place).collect())
        }
        _ => Err(OpenError::Twice {
            one: dir_of(places[0]).path.clone(),
            other: dir_of(places[1]).path.clone(),
        }),
    }
}

impl Moves {
    /// Begins anew what a stop has interrupted, and removes copies that are of no use.
    pub(in crate::replica) fn resume(
        &self,
        copies: Vec<(Arc<Volume>, log::PartitionDir)>,
        partitions: &BTreeMap<PartitionKey, Arc<Hosted>>,
        tail: &Arc<TailBudget>,
        now_ms: i64,
    ) {
        for (volume, dir) in copies {
            let hosted = dir.topic_id.and_then(|topic_id| {
                let partition = dir.partition;
                partitions.get(&PartitionKey { topic_id, partition })
            });
            let is_wanted = |hosted: &&Arc<Hosted>| {
                !Arc::ptr_eq(&hosted.volume(), &volume) && self.target_of(hosted.key()).is_none()
            };
            let disk = volume.files().disk();
            let begun = match hosted.filter(is_wanted) {
                None => remove(&**disk, &dir.path),
                Some(hosted) => {
                    let storage = Storage {
                        disk: disk.clone(),
                        tail: tail.clone(),
                    };
                    begin_anew(hosted, &storage, &dir.path, now_ms)
                        .map(|copy| self.begin(hosted, &volume, dir.path.clone(), copy))
                }
            };
            if let Err(error) = begun {
                tracing::warn!(path = %dir.path.display(), "a copy of a replica that was being moved is left alone: {error}");
                volume.note(&error);
            }
        }
    }
}

fn begin_anew(hosted: &Hosted, storage: &Storage, dir: &Path, now_ms: i64) -> Result<Log, log::Error> {
    let Some(state) = hosted.here() else {
        return Err(log::Error::Interrupted);
    };
    state.log.begin_copy(storage, dir, now_ms)
}

fn remove(disk: &dyn log::Disk, dir: &Path) -> Result<(), log::Error> {
    disk.remove_dir(dir).map_err(|source| log::Error::Io {
        action: "remove",
        path: dir.to_owned(),
        source,
    })
}

impl Replicas {
    /// Removes a directory that is no partition's any more.
    pub(in crate::replica) fn remove_dir(&self, volume: &Volume, dir: &Path) {
        if let Err(error) = volume.files().disk().remove_dir(dir) {
            // The next start removes it.
            tracing::warn!(path = %dir.display(), "a deleted partition cannot be removed yet: {error}");
        }
    }
}
