//! The coordination service, in the place of ZooKeeper and of KRaft's controller: a Raft quorum of a few brokers keeps the
//! fleet's metadata, all others observe it, and the leader of the quorum is the controller.

mod client;
mod driver;
mod latest;
mod quorum;
mod sessions;
mod solo;
mod voter;

pub use client::{Controller, Remote, SUBMIT_TIMEOUT, SubmitError};
pub use driver::{Answer, Decide, Driver, NotController, Options, QUEUE_MAX};
pub use latest::{Indexed, Metadata, Publisher, Subscription, WaitError};
pub use quorum::{Applied, Leadership, LeadershipLost, Quorum, Solo};
pub use solo::solo;
pub use voter::{InvalidVoterId, VoterId, VoterNode};
