//! The rules that hold in every run, one a file. Each is told what was seen, and says when it cannot be.

mod committed_is_kept;
mod emptied_disk_is_a_stranger;
mod epochs_are_given_once;
mod metadata_is_linearizable;
mod one_image_at_an_index;
mod one_leader_a_term;
mod one_vote_a_term;
mod stale_terms_are_skipped;

use std::collections::BTreeSet;

use flotilla_broker::coordination::simulation::{Call, appended};
use flotilla_broker::coordination::{Indexed, VoterId};
use flotilla_control::proto::coordination::Committed;

use crate::outcome::Violation;

use metadata_is_linearizable::MetadataIsLinearizable;

/// All of them, and the first that was broken.
#[derive(Default)]
pub struct Invariants {
    violation: Option<Violation>,
    committed: committed_is_kept::CommittedIsKept,
    emptied: emptied_disk_is_a_stranger::EmptiedDiskIsAStranger,
    epochs: epochs_are_given_once::EpochsAreGivenOnce,
    /// Told by the workload.
    pub linearizable: MetadataIsLinearizable,
    images: one_image_at_an_index::OneImageAtAnIndex,
    leaders: one_leader_a_term::OneLeaderATerm,
    votes: one_vote_a_term::OneVoteATerm,
    stale: stale_terms_are_skipped::StaleTermsAreSkipped,
}

/// A rule was broken.
fn broken(invariant: &'static str, message: String) -> Violation {
    Violation { invariant, message }
}

impl Invariants {
    /// Keeps the first violation.
    pub fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A member says that it leads. True: nobody knew yet.
    pub fn leads(&mut self, who: VoterId, term: u64, voters: &BTreeSet<VoterId>) -> Result<bool, Violation> {
        self.leaders.leads(who, term, voters)
    }

    /// A member has applied an entry. True: it is the first of all to do so.
    pub fn applied(&mut self, who: VoterId, entry: &Committed) -> Result<bool, Violation> {
        self.stale.applied(who, entry)?;
        self.epochs.committed(entry)?;
        self.images.committed(entry)?;
        self.linearizable.committed(entry);
        self.committed.applied(who, entry)
    }

    /// A broker shows an image.
    pub fn shows(&mut self, who: VoterId, image: &Indexed) -> Result<(), Violation> {
        self.images.shows(who, image)
    }

    /// A member answered a message.
    pub fn answered(
        &mut self,
        call: Call,
        by: VoterId,
        is_emptied: bool,
        message: &[u8],
        answer: &[u8],
    ) -> Result<(), Violation> {
        self.emptied.answered(by, is_emptied)?;
        match call {
            Call::Vote => {
                self.leaders.answered(by, answer);
                self.votes.answered(by, answer)
            }
            Call::AppendEntries => {
                for entry in appended(message) {
                    self.stale.appended(&entry);
                    self.committed.appended(&entry)?;
                }
                Ok(())
            }
            Call::InstallSnapshot => Ok(()),
        }
    }

    /// How many entries were seen that were decided in another term than they were appended in.
    pub fn stale_entries(&self) -> u64 {
        self.stale.seen()
    }
}
