//! Storing what became of records: one write at a time, each with all that has come meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Hosted, client};
use crate::broker::Broker;
use crate::share::{Error, Reply, Request, Write, WriteState};

/// Begins to store what is to be stored, unless that is under way.
pub(super) fn pump(broker: &Arc<Broker>, hosted: &Arc<Hosted>) {
    let write = {
        let mut state = hosted.state.lock();
        match state.is_over {
            true => None,
            false => state.delivery.next_write(),
        }
    };
    if let Some(write) = write {
        tokio::spawn(store(broker.clone(), hosted.clone(), write));
    }
}

/// Stores for as long as there is something to store.
async fn store(broker: Arc<Broker>, hosted: Arc<Hosted>, write: Write) {
    let mut next = Some(write);
    while let Some(write) = next {
        let number = write.number;
        let outcome = written(&broker, &hosted, write).await;
        let told;
        let behind;
        {
            let mut state = hosted.state.lock();
            state.delivery.written(number, outcome.is_ok());
            let is_lost = broker.replicas.led(hosted.key) != Some(hosted.leader_epoch);
            state.is_over |= is_lost || outcome.is_err_and(is_final);
            told = state.waiting.remove(&number).unwrap_or_default();
            behind = match state.is_over {
                true => std::mem::take(&mut state.waiting),
                false => BTreeMap::new(),
            };
            next = match state.is_over {
                true => None,
                false => state.delivery.next_write(),
            };
        }
        for waits in told {
            // Who waited may have gone meanwhile.
            let _ = waits.send(outcome);
        }
        // What waits behind it is never stored: whoever loads the delivery anew knows nothing of it.
        let lost = outcome.err().unwrap_or(Error::FencedLeaderEpoch);
        for waits in behind.into_values().flatten() {
            let _ = waits.send(Err(lost));
        }
        hosted.changed.notify_waiters();
    }
    broker.shares.retire(&hosted.of.group, hosted.key);
}

async fn written(broker: &Arc<Broker>, hosted: &Hosted, write: Write) -> Result<(), Error> {
    let request = Request::Write {
        of: hosted.of.clone(),
        change: WriteState {
            state_epoch: hosted.state_epoch,
            leader_epoch: hosted.leader_epoch,
            start: write.start,
            finished: i32::try_from(write.finished).unwrap_or(i32::MAX),
            batches: write.batches,
        },
    };
    match client::ask(broker, request).await {
        Reply::Done(outcome) => outcome,
        _ => Err(Error::Unexpected),
    }
}

/// Whether no later write can fare better.
fn is_final(error: Error) -> bool {
    !matches!(
        error,
        Error::NotCoordinator | Error::LoadInProgress | Error::NotAvailable
    )
}
