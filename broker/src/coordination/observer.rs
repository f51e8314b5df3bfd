//! Follows the metadata where this broker is no voter: a snapshot from any voter, then its committed entries as they come.

use std::time::Duration;

use flotilla_control::proto::coordination::{ObserveRequest, ObserveResponse, observe_response::Part};
use flotilla_protocol::{BrokerId, Uuid};
use futures::StreamExt as _;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::carrier::{Carrier, Observed};
use super::client::Controller;
use super::latest::{Indexed, Metadata, Publisher};
use super::raft::Member;
use super::watched::Voting;
use crate::metadata::Image;

/// A voter that says nothing for so long is left for another one. It speaks every 250 ms.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// A voter that knows no leader for so long is left for another one.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
/// Between two voters, and between two looks at whether there is anything to do.
const PAUSE: Duration = Duration::from_millis(200);
/// So long may a voter here hear of no leader before it observes another one beside.
const OWN_SILENCE_MAX: Duration = Duration::from_secs(3);

/// What follows the metadata on a broker.
pub struct Observer {
    /// Who this is.
    pub broker: BrokerId,
    /// This broker's own member of the quorum: while it takes part, there is nothing to observe.
    pub member: Member,
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// Reaches the other brokers.
    pub carrier: Arc<dyn Carrier>,
    /// Where images go.
    pub publisher: Publisher,
    /// What has been put out.
    pub metadata: Metadata,
    /// Learns who leads.
    pub controller: Controller,
    /// What the broker must stop for.
    pub failure: watch::Sender<Option<String>>,
}

/// Why one voter is no longer observed.
enum Ended {
    /// It went, or is of no use: the next one may be.
    Voter(String),
    /// It sent what this broker does not understand.
    NotUnderstood(String),
}

impl Observer {
    /// Runs until the broker stops.
    pub async fn run(self) {
        let mut next = 0;
        let mut last_heard = Instant::now();
        loop {
            if self.member.takes_part() && self.member.is_led(OWN_SILENCE_MAX) {
                sleep(PAUSE).await;
                continue;
            }
            let known = self.controller.known().filter(|broker| *broker != self.broker);
            let others = self.carrier.brokers();
            let Some(voter) = others.get(next % others.len().max(1)).copied().or(known) else {
                sleep(PAUSE).await;
                continue;
            };
            // The leader is the surest to be a voter, so it is tried at first; after that, everyone in turn.
            let voter = known.filter(|_| next == 0).unwrap_or(voter);
            match self.observe(voter, &mut last_heard).await {
                Ended::Voter(why) => tracing::debug!(%voter, why, "observing another voter"),
                Ended::NotUnderstood(what) => {
                    let message = format!(
                        "metadata of voter {voter}: {what}. Run a version of the broker that knows it"
                    );
                    self.failure.send_replace(Some(message));
                    return;
                }
            }
            if last_heard.elapsed() > LEADERLESS_MAX {
                self.controller.lose_sight();
            }
            next += 1;
            sleep(PAUSE).await;
        }
    }

    async fn observe(&self, voter: BrokerId, last_heard: &mut Instant) -> Ended {
        let latest = self.metadata.latest();
        let request = ObserveRequest {
            cluster_id: self.cluster_id.to_string(),
            broker_id: self.broker.0,
            applied_index: latest.index,
        };
        let mut stream = match timeout(SILENCE_MAX, self.carrier.observe(voter, request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return Ended::Voter(why),
            Err(_) => return Ended::Voter("it does not answer".to_owned()),
        };
        let mut follower = Follower {
            latest,
            arriving: None,
        };
        let mut leader_seen = Instant::now();
        loop {
            let response = match timeout(SILENCE_MAX, next(&mut stream)).await {
                Ok(Ok(response)) => response,
                Ok(Err(why)) => return Ended::Voter(why),
                Err(_) => return Ended::Voter("it fell silent".to_owned()),
            };
            if let Some(leader) = response.leader.as_ref().filter(|leader| leader.broker_id >= 0) {
                leader_seen = Instant::now();
                *last_heard = leader_seen;
                self.controller.learn(leader);
            }
            self.controller.observe(Voting {
                leader: response.leader.clone().unwrap_or_default(),
                voters: response.voters.clone(),
            });
            if leader_seen.elapsed() > LEADERLESS_MAX {
                return Ended::Voter("it knows no leader".to_owned());
            }
            match follower.apply(response) {
                Ok(true) => self.publisher.publish(follower.latest.clone()),
                Ok(false) => {}
                Err(Unfit::Gap) => return Ended::Voter("it left entries out".to_owned()),
                Err(Unfit::NotUnderstood(what)) => return Ended::NotUnderstood(what),
            }
            if self.member.takes_part() && self.member.is_led(OWN_SILENCE_MAX) {
                return Ended::Voter("this broker takes part in the quorum itself".to_owned());
            }
        }
    }
}

async fn next(stream: &mut Observed) -> Result<ObserveResponse, String> {
    let response = stream.next().await;
    response.unwrap_or_else(|| Err("it ended the stream".to_owned()))
}

/// What came that cannot be followed.
#[derive(Debug, PartialEq, Eq)]
enum Unfit {
    Gap,
    NotUnderstood(String),
}

/// Folds what a voter sends.
struct Follower {
    latest: Indexed,
    arriving: Option<Image>,
}

impl Follower {
    /// Takes one message; true when there is a newer image.
    fn apply(&mut self, response: ObserveResponse) -> Result<bool, Unfit> {
        match response.part {
            None => Ok(false),
            Some(Part::Snapshot(snapshot)) => {
                if snapshot.first {
                    self.arriving = Some(Image::default());
                }
                let mut image = self.arriving.take().ok_or(Unfit::Gap)?;
                image
                    .fold_all(&snapshot.records)
                    .map_err(|unknown| Unfit::NotUnderstood(unknown.to_string()))?;
                if !snapshot.last {
                    self.arriving = Some(image);
                    return Ok(false);
                }
                self.latest = Indexed {
                    index: snapshot.index,
                    image: Arc::new(image),
                };
                Ok(true)
            }
            Some(Part::Committed(committed)) => {
                // Index 0 is the entry that founded the quorum, and an observer that has nothing stands there too.
                if committed.index <= self.latest.index {
                    return Ok(false);
                }
                if committed.index != self.latest.index + 1 {
                    return Err(Unfit::Gap);
                }
                let mut image = Image::clone(&self.latest.image);
                image
                    .fold_all(&committed.records)
                    .map_err(|unknown| Unfit::NotUnderstood(unknown.to_string()))?;
                self.latest = Indexed {
                    index: committed.index,
                    image: Arc::new(image),
                };
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::coordination::{Committed, Snapshot};
    use flotilla_control::proto::metadata::{FeatureLevel, Record, record};

    use super::*;

    fn feature(name: &str) -> Record {
        let level = FeatureLevel {
            name: name.to_owned(),
            level: 1,
        };
        Record {
            record: Some(record::Record::FeatureLevel(level)),
        }
    }

    fn snapshot(name: &str, first: bool, last: bool) -> ObserveResponse {
        let snapshot = Snapshot {
            records: vec![feature(name)],
            first,
            last,
            index: 7,
            term: 1,
        };
        ObserveResponse {
            part: Some(Part::Snapshot(snapshot)),
            ..ObserveResponse::default()
        }
    }

    fn committed(index: u64, record: Record) -> ObserveResponse {
        let committed = Committed {
            index,
            term: 1,
            records: vec![record],
        };
        ObserveResponse {
            part: Some(Part::Committed(committed)),
            ..ObserveResponse::default()
        }
    }

    fn features(follower: &Follower) -> Vec<&str> {
        follower.latest.image.features().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_snapshot_in_parts_and_then_entries_make_the_image() {
        let mut follower = Follower {
            latest: Indexed::default(),
            arriving: None,
        };
        assert_eq!(follower.apply(snapshot("a", true, false)), Ok(false));
        assert_eq!(features(&follower), Vec::<&str>::new());
        assert_eq!(follower.apply(snapshot("b", false, true)), Ok(true));
        assert_eq!(follower.apply(committed(8, feature("c"))), Ok(true));
        assert_eq!(follower.apply(committed(8, feature("again"))), Ok(false));
        assert_eq!(
            (features(&follower), follower.latest.index),
            (vec!["a", "b", "c"], 8)
        );
    }

    #[test]
    fn a_gap_or_an_unknown_record_is_never_passed_over() {
        let mut follower = Follower {
            latest: Indexed::default(),
            arriving: None,
        };
        assert_eq!(follower.apply(snapshot("b", false, true)), Err(Unfit::Gap));
        assert_eq!(follower.apply(committed(2, feature("c"))), Err(Unfit::Gap));
        let unknown = follower.apply(committed(1, Record { record: None }));
        assert!(matches!(unknown, Err(Unfit::NotUnderstood(_))));
        assert_eq!(follower.latest.index, 0);
    }
}
