//! Where clients note what they did and saw, with the time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::history::{Acknowledged, Event, History, Id, Moment, Partition, Sent, Session};

/// Shared by all clients of a run.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    began: Instant,
    sessions: AtomicU32,
    failed: AtomicU64,
    history: Mutex<History>,
    /// What librdkafka says of its idempotent producers, to understand a violation by.
    diary: Mutex<std::fs::File>,
    /// The highest offset that a group was handed.
    reached: Mutex<BTreeMap<(Arc<str>, Partition), i64>>,
}

impl Recorder {
    /// The run begins now; what clients say goes to the file `diary`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin(diary: &Path) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            diary: Mutex::new(std::fs::File::create(diary)?),
            began: Instant::now(),
            sessions: AtomicU32::new(1),
            failed: AtomicU64::new(0),
            history: Mutex::default(),
            reached: Mutex::default(),
        })))
    }

    pub fn now(&self) -> Moment {
        self.0.began.elapsed().as_millis() as Moment
    }

    /// Writes down what a client says.
    pub fn diary(&self, said: &str) {
        let at = self.now();
        let _ = writeln!(self.0.diary.lock().expect("not poisoned"), "{at} {said}");
    }

    /// A new session of an idempotent producer that will write to a topic.
    pub fn open_session(&self, topic: &Arc<str>) -> Session {
        let session = self.0.sessions.fetch_add(1, Ordering::Relaxed);
        let sent = Sent {
            topic: topic.clone(),
            attempts: 0,
            idempotent: true,
        };
        self.history().sessions.insert(session, sent);
        session
    }

    /// The session has sent, or is about to send, so many records. To be called before they are on their way.
    pub fn attempts(&self, session: Session, attempts: u64) {
        if let Some(sent) = self.history().sessions.get_mut(&session) {
            sent.attempts = sent.attempts.max(attempts);
        }
    }

    /// `offset` is `None` where the client was not told.
    pub fn acknowledged(&self, id: Id, partition: Partition, offset: Option<i64>) {
        let at = self.now();
        self.history().acknowledged.push(Acknowledged {
            at,
            id,
            partition,
            offset,
        });
    }

    /// A record was given up. It may be there, or not.
    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn event(&self, event: Event) {
        if let Event::Delivered {
            member,
            partition,
            offset,
            ..
        } = &event
        {
            let mut reached = self.0.reached.lock().expect("not poisoned");
            let highest = reached
                .entry((member.group.clone(), partition.clone()))
                .or_insert(-1);
            *highest = (*highest).max(*offset);
        }
        self.history().events.push(event);
    }

    /// The highest offset of a partition that a group was handed; -1 for none.
    pub fn reached(&self, group: &Arc<str>, partition: &Partition) -> i64 {
        let reached = self.0.reached.lock().expect("not poisoned");
        reached
            .get(&(group.clone(), partition.clone()))
            .copied()
            .unwrap_or(-1)
    }

    /// How many events there are.
    pub fn events(&self) -> usize {
        self.history().events.len()
    }

    pub fn acknowledged_count(&self) -> usize {
        self.history().acknowledged.len()
    }

    pub fn failed_count(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// All of it, when the clients have ended.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().expect("not poisoned")
    }
}
