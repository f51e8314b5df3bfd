//! Keeps watch for the leader where its messages arrive, so that a member that was held up itself does not stand for
//! election while they wait to be read.
//!
//! openraft looks at its clock before it looks at what has arrived, and does neither while it waits for the disk: a busy machine,
//! a slow disk or a pause would end a leader's term whom everybody else hears.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is to be looked, at most.
pub const LOOK: Duration = Duration::from_millis(25);

/// When a member last heard of a leader, and how often it has looked in vain since.
///
/// Looks are counted, and not time: between two of them everything else had its turn, so what had arrived was read. Whoever is
/// held up looks less often, and waits longer, in proportion.
#[derive(Debug)]
pub struct Vigil {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heard: Instant,
    looks: u32,
}

impl Vigil {
    /// Begins to listen.
    pub fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State { heard: now, looks: 0 }),
        }
    }

    /// Something of a leader has arrived.
    pub fn heard(&self, now: Instant) {
        *self.state.lock() = State { heard: now, looks: 0 };
    }

    /// When something of a leader arrived last, or when this began to listen.
    pub fn last_heard(&self) -> Instant {
        self.state.lock().heard
    }

    /// Looks once more: whether nothing was heard of a leader in as many looks as fill `silence`.
    pub fn is_silent(&self, silence: Duration) -> bool {
        let mut state = self.state.lock();
        state.looks = state.looks.saturating_add(1);
        LOOK.saturating_mul(state.looks) >= silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_millis(400);

    #[test]
    fn leader_that_is_not_heard_is_missed_after_so_many_looks() {
        let vigil = Vigil::new(Instant::now());
        for look in 1..=16 {
            assert_eq!(vigil.is_silent(SILENCE), look == 16, "look {look}");
        }
        assert!(vigil.is_silent(SILENCE));
        vigil.heard(Instant::now());
        assert!(!vigil.is_silent(SILENCE));
    }

    #[test]
    fn who_was_held_up_for_long_looks_as_often_as_others() {
        let start = Instant::now();
        let vigil = Vigil::new(start);
        let later = start + Duration::from_secs(10);
        assert!(
            !vigil.is_silent(SILENCE),
            "what arrived meanwhile is not read yet"
        );
        vigil.heard(later);
        assert_eq!(vigil.last_heard(), later);
        assert!(!vigil.is_silent(SILENCE));
    }
}
