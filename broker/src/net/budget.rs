//! The memory that requests in flight may take, over all connections: at the limit, reading waits.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames up to this size are not counted: there are no more of them than there are connections. It keeps heartbeats and
/// small fetches alive while large requests wait.
pub(super) const UNCOUNTED_BYTES_MAX: usize = 16 * 1024;

const UNIT_BYTES: usize = 1024;

/// A limit of bytes, handed out in units of 1 KiB, first come first served.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _units: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        let units_max = bytes.div_ceil(UNIT_BYTES).clamp(1, u32::MAX as usize);
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
        }
    }

    /// Waits until there is room. A request that is larger than the whole budget gets all of it.
    pub(super) async fn reserve(self, bytes: usize) -> Reservation {
        let units = bytes.div_ceil(UNIT_BYTES).min(self.units_max) as u32;
        let permit = self.units.acquire_many_owned(units).await;
        Reservation {
            _units: permit.expect("the semaphore is never closed"),
        }
    }

    #[cfg(test)]
    fn left_bytes(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn bytes_are_taken_until_the_reservation_ends() {
        let budget = Budget::new(10 * 1024);
        let first = budget.clone().reserve(6000).await;
        assert_eq!(budget.left_bytes(), 4 * 1024);
        assert!(budget.clone().reserve(5000).now_or_never().is_none());
        drop(first);
        assert!(budget.clone().reserve(5000).now_or_never().is_some());
    }

    #[tokio::test]
    async fn request_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(10 * 1024);
        let large = budget.clone().reserve(1 << 30).await;
        assert_eq!(budget.left_bytes(), 0);
        drop(large);
        assert_eq!(budget.left_bytes(), 10 * 1024);
    }
}
