use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Key;

/// What is known of fleets beside what they say: since when they are silent. A clone is the same.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<BTreeMap<Key, Instant>>>);

impl Memories {
    /// Notes that a fleet answers.
    pub(super) fn answers(&self, cluster: &Key) {
        let mut silent = self.0.lock();
        if !silent.is_empty() {
            silent.remove(cluster);
        }
    }

    /// Notes that a fleet does not answer, and says since how long it has not.
    pub(super) fn silent_for(&self, cluster: &Key) -> Duration {
        let now = Instant::now();
        let mut silent = self.0.lock();
        now.saturating_duration_since(*silent.entry(cluster.clone()).or_insert(now))
    }

    /// Forgets a Cluster that is gone.
    pub(super) fn forget(&self, cluster: &Key) {
        self.0.lock().remove(cluster);
    }
}
