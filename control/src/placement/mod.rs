//! Which broker gets which replica. One pure algorithm with two callers: the operator (and `flotilla up`), for every Topic
//! resource, every scale, drain and rebalance; and the controller, for topics that clients create by themselves. The same
//! input gives the same answer.
//!
//! A partition's replicas stand on brokers of as many racks as there are; each topic is spread evenly over the brokers
//! first, then the fleet as a whole is; and as little as possible moves. The first replica of a partition is its preferred
//! leader.

mod leaders;
mod rebalance;
mod table;

use flotilla_protocol::BrokerId;

pub use rebalance::{Move, Placed, drain, rebalance};
use table::Table;

/// A broker, as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Where it stands. Brokers without a rack count as standing alone.
    pub rack: Option<String>,
    /// How many partitions have it as their preferred leader.
    pub leaders: u32,
    /// How many replicas it holds.
    pub replicas: u32,
    /// Whether it is being emptied: then it gets nothing.
    pub draining: bool,
    /// Whether it does not answer: then it gets something only where the others do not suffice.
    pub fenced: bool,
}

/// The brokers that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// In any order.
    pub brokers: Vec<Broker>,
    /// Whether a broker without a rack gets nothing, because its rack is only not known yet.
    pub racks_required: bool,
}

/// A new topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many partitions.
    pub partitions: usize,
    /// How many replicas each.
    pub replicas: usize,
}

/// Why replicas cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A topic has at least one partition.
    #[error("a topic needs at least one partition")]
    NoPartitions,
    /// A partition has at least one replica.
    #[error("a partition needs at least one replica")]
    NoReplicas,
    /// More replicas were asked for than there are brokers to hold them.
    #[error(
        "{replicas} replicas need {replicas} brokers, but only {available} of {brokers} can take replicas{}",
        why(*draining, *without_rack)
    )]
    NotEnoughBrokers {
        /// What was asked for.
        replicas: usize,
        /// The brokers that can take replicas.
        available: usize,
        /// All brokers.
        brokers: usize,
        /// Those that are being emptied.
        draining: usize,
        /// Those that have no rack while racks are required.
        without_rack: usize,
    },
    /// No broker that can take replicas answers.
    #[error("none of the {available} brokers that can take replicas answers: start one")]
    NoneAlive {
        /// The brokers that can take replicas.
        available: usize,
    },
    /// A topic cannot shrink.
    #[error("the topic has {now} partitions; {asked} would be fewer, and partitions are never removed")]
    FewerPartitions {
        /// How many there are.
        now: usize,
        /// How many were asked for.
        asked: usize,
    },
}

fn why(draining: usize, without_rack: usize) -> String {
    let mut reasons = Vec::new();
    if draining > 0 {
        reasons.push(format!("{draining} being drained"));
    }
    if without_rack > 0 {
        reasons.push(format!("{without_rack} without a rack yet"));
    }
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    }
}

/// The replicas of a new topic, by partition.
///
/// # Errors
/// [`Error`], where the fleet cannot hold it.
pub fn place(fleet: &Fleet, request: &Request) -> Result<Vec<Vec<BrokerId>>, Error> {
    if request.partitions == 0 {
        return Err(Error::NoPartitions);
    }
    let mut table = Table::new(fleet);
    table.require(request.replicas)?;
    Ok(table.add_partitions(request.partitions, request.replicas))
}

/// The replicas of the partitions that a topic gets in addition to those it has. They have as many replicas as its first
/// partition. Nothing moves.
///
/// # Errors
/// [`Error`], where the topic would shrink or the fleet cannot hold it.
pub fn grow(
    fleet: &Fleet,
    existing: &[Vec<BrokerId>],
    partitions: usize,
) -> Result<Vec<Vec<BrokerId>>, Error> {
    let Some(first) = existing.first() else {
        return Err(Error::NoPartitions);
    };
    let Some(more) = partitions.checked_sub(existing.len()) else {
        return Err(Error::FewerPartitions {
            now: existing.len(),
            asked: partitions,
        });
    };
    if more == 0 {
        return Ok(Vec::new());
    }
    let mut table = Table::new(fleet);
    table.require(first.len())?;
    table.count_topic(existing);
    Ok(table.add_partitions(more, first.len()))
}

/// The replicas of a topic's partitions once each has `replicas` of them. What can stay stays, the preferred leaders first.
///
/// # Errors
/// [`Error`], where the fleet cannot hold it.
pub fn change_replicas(
    fleet: &Fleet,
    existing: &[Vec<BrokerId>],
    replicas: usize,
) -> Result<Vec<Vec<BrokerId>>, Error> {
    let mut table = Table::new(fleet);
    table.require(replicas)?;
    table.count_topic(existing);
    Ok(existing.iter().map(|now| table.resize(now, replicas)).collect())
}

#[cfg(test)]
mod tests;
