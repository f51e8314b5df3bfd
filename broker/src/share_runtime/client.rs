//! The way to the coordinator of a share partition, wherever it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::broker::Broker;
use crate::share::{Error, Reply, Request};

/// How long a coordinator is looked for that has moved or is still loading.
const LIMIT: Duration = Duration::from_secs(5);
/// The first rest before it is looked for again; it doubles up to [`REST_MAX`].
const REST_FIRST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_millis(500);

/// Asks the coordinator of the share partition that a request names. Where it cannot be found it is looked for again: asking
/// twice is as good as asking once.
pub async fn ask(broker: &Arc<Broker>, request: Request) -> Reply {
    let deadline = Instant::now() + LIMIT;
    let mut rest = REST_FIRST;
    loop {
        let reply = once(broker, &request).await;
        let passes = matches!(
            reply.error(),
            Some(Error::NotCoordinator | Error::LoadInProgress | Error::NotAvailable)
        );
        if !passes || Instant::now() + rest >= deadline {
            return reply;
        }
        sleep(rest).await;
        rest = (rest * 2).min(REST_MAX);
    }
}

async fn once(broker: &Arc<Broker>, request: &Request) -> Reply {
    let Some(of) = request.of() else {
        return request.refused(Error::InvalidRequest);
    };
    let states = &broker.share_states;
    let quorum = &broker.config.quorum;
    let fleet_size = quorum.peers.len().max(quorum.voters.len()).max(1);
    // The first group that reads anything brings the topic into being that holds what is stored.
    states
        .ensure_topic(&broker.controller, &broker.settings(), fleet_size)
        .await;
    let image = broker.metadata.image();
    let key = of.coordinator_key();
    match states.coordinator_of(&image, &key) {
        Some(leader) if leader == broker.id => states.ask(&key, request.clone()).await,
        Some(leader) if image.is_alive(leader) => {
            let reply = broker.courier.share_state(leader, request.clone()).await;
            reply.unwrap_or_else(|| request.refused(Error::NotAvailable))
        }
        _ => request.refused(Error::NotCoordinator),
    }
}
