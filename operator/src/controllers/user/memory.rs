use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_control::proto::fleet::ApplyUserRequest;
use parking_lot::Mutex;

use crate::Key;
use crate::user::Sent;

/// What the fleet took for a User last.
#[derive(Clone)]
pub(super) struct Taken {
    /// Which of the Users that had the name.
    pub(super) uid: Option<String>,
    /// The command, without its password.
    pub(super) asked: ApplyUserRequest,
    /// The password, as a digest, and what the fleet made of it.
    pub(super) sent: Sent,
}

/// What is known beside what Kubernetes and the fleets say. A clone is the same.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    taken: BTreeMap<Key, Taken>,
    silent: BTreeMap<Key, Instant>,
}

impl Memories {
    /// What the fleet took for this User last.
    pub(super) fn taken(&self, user: &Key, uid: Option<&str>) -> Option<Taken> {
        let inner = self.0.lock();
        inner
            .taken
            .get(user)
            .filter(|taken| taken.uid.as_deref() == uid)
            .cloned()
    }

    pub(super) fn took(&self, user: Key, taken: Taken) {
        self.0.lock().taken.insert(user, taken);
    }

    pub(super) fn forget(&self, user: &Key) {
        self.0.lock().taken.remove(user);
    }

    /// Notes that a fleet answers.
    pub(super) fn answers(&self, cluster: &Key) {
        let mut inner = self.0.lock();
        if !inner.silent.is_empty() {
            inner.silent.remove(cluster);
        }
    }

    /// Notes that a fleet does not answer, and says since how long it has not.
    pub(super) fn silent_for(&self, cluster: &Key) -> Duration {
        let now = Instant::now();
        let mut inner = self.0.lock();
        now.saturating_duration_since(*inner.silent.entry(cluster.clone()).or_insert(now))
    }
}
