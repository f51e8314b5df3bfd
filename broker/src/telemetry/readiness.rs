//! How far a broker has come with starting, so that a probe tells one that recovers from one that is broken.

use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a broker stands between its start and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Configuration is read, nothing is open yet.
    #[default]
    Starting,
    /// Logs are opened, and those that were not closed cleanly are checked.
    Recovering {
        /// Logs that are open.
        done: usize,
        /// Logs there are.
        total: usize,
    },
    /// Waits for the quorum to take it in.
    Joining,
    /// Serves clients.
    Ready,
    /// Hands its leaderships over before it ends.
    Draining,
    /// Cannot go on; says why and what to do.
    Broken(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Recovering { done, total } => write!(f, "recovering: {done} of {total} logs are open"),
            Self::Joining => f.write_str("joining: waiting for the quorum to take this broker in"),
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}

/// The phase, shared by those who change it and those who ask.
#[derive(Clone, Debug)]
pub struct Readiness {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::default())),
        }
    }
}

impl Readiness {
    /// Goes to another phase. A broken broker stays broken.
    pub fn set(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let changes = *phase != next && !matches!(phase, Phase::Broken(_));
            if changes {
                tracing::info!(phase = %next, "phase changed");
                *phase = next;
            }
            changes
        });
    }

    /// Where the broker stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// To wait for a phase.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_broker_stays_broken() {
        let readiness = Readiness::default();
        readiness.set(Phase::Recovering { done: 1, total: 3 });
        assert_eq!(readiness.phase().to_string(), "recovering: 1 of 3 logs are open");
        readiness.set(Phase::Broken("disk gone".into()));
        readiness.set(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Broken("disk gone".into()));
    }
}
