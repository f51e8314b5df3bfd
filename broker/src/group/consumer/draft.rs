//! A decision in the making: a copy of a group, and the records that made it what it is.

use super::group::Group;
use super::record::{GroupEpoch, Record};
use super::topics::{Hashes, Seen};
use crate::group::{Text, folded};

pub(super) type Draft = folded::Draft<Group>;

impl Draft {
    /// The order is Kafka's: what a member holds is forgotten before the member is.
    pub(super) fn remove_member(&mut self, member: &Text) {
        self.write(Record::Current {
            member: member.clone(),
            value: None,
        });
        self.write(Record::Target {
            member: member.clone(),
            value: None,
        });
        self.write(Record::Member {
            member: member.clone(),
            value: None,
        });
    }

    /// Forgets what expressions matched that nobody subscribes by any more.
    pub(super) fn remove_unused_regexes(&mut self) {
        let unused: Vec<Text> = self
            .group
            .regexes()
            .filter(|(regex, _)| !self.group.regex_counts().contains_key(*regex))
            .map(|(regex, _)| regex.clone())
            .collect();
        for regex in unused {
            self.write(Record::Regex { regex, value: None });
        }
    }

    /// Raises the group's epoch, if asked to or if the topics that it reads have changed.
    pub(super) fn follow_topics(&mut self, must_bump: bool, hashes: &mut Hashes, seen: &Seen) {
        let metadata_hash = hashes.of_group(self.group.subscribed(), seen);
        if must_bump || metadata_hash != self.group.metadata_hash {
            let epoch = self.group.epoch + 1;
            self.write(Record::Group(Some(GroupEpoch { epoch, metadata_hash })));
        }
        if self.group.has_topic_records {
            self.write(Record::TopicMetadata { is_present: false });
        }
    }
}
