//! In which order, and how many at once, the logs of a volume are synced: group commit.

use super::PartitionKey;
use super::hosted::Hosted;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many files are synced at once. Most of a sync is waiting, and the kernel makes one flush of the device out of those that come together.
pub(super) const SYNCS_AT_ONCE: usize = 8;
/// Where more wait, the whole file system is synced at once instead: for thousands of files that takes a hundredth of the time. Not for
/// a few, because it also writes what others have on that file system.
const ONE_BY_ONE_MAX: usize = 64;
/// How long a log rests at the most: a disk that was slow for once must not make anybody wait longer than that.
const REST_MAX: Duration = Duration::from_millis(5);

/// Those whose appends wait for a sync, in turn. No longer than there are partitions: each waits once.
#[derive(Default)]
pub(super) struct SyncQueue {
    waiting: VecDeque<(Turn, Arc<Hosted>)>,
    syncing: Vec<(Turn, PartitionKey)>,
    /// Those that were synced a moment ago, and until when they rest: so that under load more appends share a sync.
    resting: Vec<(Instant, PartitionKey)>,
    /// Who asked to hear of it, before which turn.
    done: VecDeque<(Turn, oneshot::Sender<()>)>,
    next: Turn,
    closing: bool,
}

type Turn = u64;

/// What one thread syncs next.
pub(super) enum Task {
    One(Turn, Arc<Hosted>),
    /// All that waited.
    All(Vec<Arc<Hosted>>),
}

/// What a group commit of one step syncs, and who waits for it.
pub(super) struct Commit {
    pub dirty: Vec<Arc<Hosted>>,
    pub done: Vec<oneshot::Sender<()>>,
}

impl SyncQueue {
    pub(super) fn push(&mut self, hosted: Arc<Hosted>) {
        self.waiting.push_back((self.next, hosted));
        self.next += 1;
    }

    /// Has somebody told once all is synced that was pushed before.
    pub(super) fn tell(&mut self, done: oneshot::Sender<()>) {
        self.done.push_back((self.next, done));
    }

    /// What is to be synced next. Never what is being synced: of two syncs of a file that run at the same time, only one is told
    /// that writing failed.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Task> {
        self.resting.retain(|(until, _)| *until > now);
        if self.syncing.is_empty() && self.waiting.len() > ONE_BY_ONE_MAX {
            let all: Vec<_> = self.waiting.drain(..).collect();
            self.syncing
                .extend(all.iter().map(|(turn, hosted)| (*turn, hosted.key())));
            let all = all.into_iter().map(|(_, hosted)| hosted).collect();
            return Some(Task::All(all));
        }
        // Those that are synced now come to an end, and then all that waits is synced together.
        if self.syncing.len() > SYNCS_AT_ONCE || self.waiting.len() > ONE_BY_ONE_MAX {
            return None;
        }
        let is_syncing = |key| self.syncing.iter().any(|(_, other)| *other == key);
        let rests = |key| !self.closing && self.resting.iter().any(|(_, other)| *other == key);
        let is_free = |hosted: &Hosted| !is_syncing(hosted.key()) && !rests(hosted.key());
        let place = self.waiting.iter().position(|(_, hosted)| is_free(hosted))?;
        let (turn, hosted) = self.waiting.remove(place)?;
        self.syncing.push((turn, hosted.key()));
        Some(Task::One(turn, hosted))
    }

    /// When a log may be synced that rests. None: none of those that wait does.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let waits = |key: &PartitionKey| self.waiting.iter().any(|(_, hosted)| hosted.key() == *key);
        self.resting
            .iter()
            .filter(|(_, key)| waits(key))
            .map(|(until, _)| *until)
            .min()
    }

    /// Ends what was begun `since`.
    pub(super) fn end(&mut self, task: &Task, since: Instant, now: Instant) {
        match task {
            Task::One(turn, hosted) => {
                self.syncing.retain(|(other, _)| other != turn);
                self.resting
                    .push((now + (now - since).min(REST_MAX), hosted.key()));
            }
            Task::All(_) => self.syncing.clear(),
        }
    }

    /// Takes out who waited only for what is synced by now.
    pub(super) fn take_done(&mut self) -> Vec<oneshot::Sender<()>> {
        let waiting = self.waiting.front().map(|(turn, _)| *turn);
        let outstanding = self.syncing.iter().map(|(turn, _)| *turn).chain(waiting);
        let first = outstanding.min().unwrap_or(self.next);
        let count = self.done.partition_point(|(before, _)| *before <= first);
        self.done.drain(..count).map(|(_, done)| done).collect()
    }

    /// All that waits now, for who syncs in steps. None where nothing does.
    pub(super) fn take_commit(&mut self) -> Option<Commit> {
        (!self.waiting.is_empty() || !self.done.is_empty()).then(|| Commit {
            dirty: self.waiting.drain(..).map(|(_, hosted)| hosted).collect(),
            done: self.done.drain(..).map(|(_, done)| done).collect(),
        })
    }

    /// From now on nothing rests, and what waits is the last.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether others wait.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing is left to do, nor will be.
    pub(super) fn is_over(&self) -> bool {
        self.closing && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::{self, broker, image, partition, topic};
    use flotilla_protocol::{BrokerId, PartitionIndex};

    const TICK: Duration = Duration::from_millis(1);

    fn hosted(count: i32) -> Vec<Arc<Hosted>> {
        let facts = [broker(0, 1), topic("orders", 1)];
        let partitions = (0..count).map(|index| partition(1, index, &[0], &[0], 3));
        let replicas = testing::in_memory(BrokerId(0), &image(facts.into_iter().chain(partitions)));
        let key = |index| PartitionKey {
            topic_id: testing::topic_id(1),
            partition: PartitionIndex(index),
        };
        (0..count)
            .map(|index| replicas.hosted(key(index)).unwrap())
            .collect()
    }

    fn is_told(receiver: &mut oneshot::Receiver<()>, queue: &mut SyncQueue) -> bool {
        for done in queue.take_done() {
            let _ = done.send(());
        }
        receiver.try_recv().is_ok()
    }

    #[test]
    fn log_is_never_synced_twice_at_once_and_rests_for_as_long_as_its_sync_took() {
        let (log, now) = (hosted(1).remove(0), Instant::now());
        let mut queue = SyncQueue::default();
        queue.push(log.clone());
        let task = queue.begin(now).unwrap();
        queue.push(log);
        assert!(queue.begin(now).is_none(), "it is being synced");
        queue.end(&task, now, now + TICK);
        assert!(queue.begin(now + TICK).is_none(), "it rests");
        assert_eq!(queue.wakes_at(), Some(now + 2 * TICK));
        assert!(matches!(queue.begin(now + 2 * TICK), Some(Task::One(1, _))));
    }

    #[test]
    fn log_does_not_rest_for_long_where_the_disk_was_slow() {
        let (log, now) = (hosted(1).remove(0), Instant::now());
        let mut queue = SyncQueue::default();
        queue.push(log.clone());
        let task = queue.begin(now).unwrap();
        queue.push(log);
        let ended = now + Duration::from_secs(20);
        queue.end(&task, now, ended);
        assert_eq!(queue.wakes_at(), Some(ended + REST_MAX));
    }

    #[test]
    fn several_logs_are_synced_at_once() {
        let mut queue = SyncQueue::default();
        hosted(3).into_iter().for_each(|log| queue.push(log));
        let now = Instant::now();
        assert!((0..3).all(|turn| matches!(queue.begin(now), Some(Task::One(begun, _)) if begun == turn)));
        assert!(queue.begin(now).is_none());
    }

    #[test]
    fn who_waits_is_told_once_all_before_is_synced_and_waits_for_nothing_that_came_later() {
        let (logs, now) = (hosted(3), Instant::now());
        let mut queue = SyncQueue::default();
        queue.push(logs[0].clone());
        queue.push(logs[1].clone());
        let (sender, mut told) = oneshot::channel();
        queue.tell(sender);
        queue.push(logs[2].clone());
        let tasks: Vec<Task> = (0..3).map(|_| queue.begin(now).unwrap()).collect();
        queue.end(&tasks[1], now, now);
        assert!(!is_told(&mut told, &mut queue), "the first is not synced yet");
        queue.end(&tasks[0], now, now);
        assert!(is_told(&mut told, &mut queue));
    }

    #[test]
    fn many_are_synced_together_and_nothing_beside_them() {
        let logs = hosted(ONE_BY_ONE_MAX as i32 + 1);
        let (last, now) = (logs[0].clone(), Instant::now());
        let mut queue = SyncQueue::default();
        let (sender, mut told) = oneshot::channel();
        logs.into_iter().for_each(|log| queue.push(log));
        queue.tell(sender);
        let task = queue.begin(now).unwrap();
        assert!(matches!(&task, Task::All(all) if all.len() == ONE_BY_ONE_MAX + 1));
        queue.push(last);
        assert!(queue.begin(now).is_none());
        assert!(!is_told(&mut told, &mut queue));
        queue.end(&task, now, now + TICK);
        assert!(is_told(&mut told, &mut queue));
        assert!(matches!(queue.begin(now + TICK), Some(Task::One(..))));
    }

    #[test]
    fn many_wait_for_those_that_are_synced_one_by_one() {
        let (mut logs, now) = (hosted(ONE_BY_ONE_MAX as i32 + 2), Instant::now());
        let mut queue = SyncQueue::default();
        queue.push(logs.remove(0));
        let task = queue.begin(now).unwrap();
        logs.into_iter().for_each(|log| queue.push(log));
        assert!(queue.begin(now).is_none());
        queue.end(&task, now, now);
        assert!(matches!(queue.begin(now), Some(Task::All(_))));
    }

    #[test]
    fn nothing_rests_when_it_is_the_last_time() {
        let (log, now) = (hosted(1).remove(0), Instant::now());
        let mut queue = SyncQueue::default();
        queue.push(log.clone());
        let task = queue.begin(now).unwrap();
        queue.end(&task, now, now + TICK);
        queue.push(log);
        queue.close();
        assert!(!queue.is_over());
        assert!(queue.begin(now + TICK).is_some());
        assert!(queue.is_over());
    }
}
