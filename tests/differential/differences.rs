//! The differences that there are meant to be, each with its reason. One that is not here fails the run, and one that is not found, too.

use flotilla_protocol::ApiKey;

use crate::run::Found;

/// A difference by intent.
pub struct Known {
    pub api: ApiKey,
    /// None: in all cases of the API.
    pub cases: &'static [&'static str],
    pub field: &'static str,
    pub reason: &'static str,
}

const fn known(
    api: ApiKey,
    cases: &'static [&'static str],
    field: &'static str,
    reason: &'static str,
) -> Known {
    Known {
        api,
        cases,
        field,
        reason,
    }
}

#[rustfmt::skip]
pub const KNOWN: &[Known] = &[
    known(ApiKey::ApiVersions, &["what is announced"], "finalized_features", "there is no `metadata.version` and no `kraft.version` but `flotilla.version`; eligible leader replicas are always kept"),
    known(ApiKey::ApiVersions, &["what is announced"], "supported_features", "there is no `metadata.version` and no `kraft.version` but `flotilla.version`; eligible leader replicas are always kept"),
    known(ApiKey::ApiVersions, &["what is announced"], "supported_features.name", "there is no `metadata.version` and no `kraft.version` but `flotilla.version`; eligible leader replicas are always kept"),
    known(ApiKey::ApiVersions, &["what is announced"], "supported_features.min_version", "there is no `metadata.version` and no `kraft.version` but `flotilla.version`; eligible leader replicas are always kept"),
    known(ApiKey::ApiVersions, &["what is announced"], "supported_features.max_version", "there is no `metadata.version` and no `kraft.version` but `flotilla.version`; eligible leader replicas are always kept"),
    known(ApiKey::CreateTopics, &[], "topics.configs", "`flush.policy` is a setting of ours"),
    known(ApiKey::CreatePartitions, &["an unknown topic", "by nobody"], "results.error_message", "Kafka has no words for it"),
    known(ApiKey::DescribeTopicPartitions, &["an unknown topic", "an invalid name"], "topics.topic_authorized_operations", "nothing is told of what is not there"),
    known(ApiKey::Produce, &[], "responses.partition_responses.error_message", "Kafka has no words for it"),
    known(ApiKey::Produce, &["a timestamp that is too old"], "responses.partition_responses.record_errors", "timestamps are judged by the batch's largest, not record by record"),
    known(ApiKey::Produce, &["a batch that is there already"], "responses.partition_responses.log_append_time_ms", "the time of the first writing is not kept where the topic has the clients' times"),
    known(ApiKey::Fetch, &["behind the end", "a leader epoch of the future"], "responses.partitions.aborted_transactions", "an empty list and none mean the same to clients"),
    known(ApiKey::FindCoordinator, &["of a group", "of a transactional id", "of a group with an empty id"], "error_message", "Kafka says `NONE` where there is no error"),
    known(ApiKey::FindCoordinator, &["of a group of nobody's", "of a transactional id of nobody's"], "coordinators.error_message", "Kafka has no words for it"),
    known(ApiKey::ConsumerGroupDescribe, &["a group", "what may be done"], "groups.members.subscribed_topic_regex", "null, as its definition says, where there is no pattern; Kafka sends an empty one for members that gave none"),
    known(ApiKey::ShareGroupHeartbeat, &["no member id"], "error_message", "Kafka has no words for it"),
    known(ApiKey::ShareFetch, &[], "error_message", "Kafka has no words for it"),
    known(ApiKey::ShareFetch, &[], "responses.partitions.error_message", "Kafka has no words for it"),
    known(ApiKey::ShareFetch, &[], "responses.partitions.acknowledge_error_message", "Kafka has no words for it"),
    known(ApiKey::ShareFetch, &["an unknown topic"], "acquisition_lock_timeout_ms", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ShareFetch, &["an unknown topic"], "error_code", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ShareFetch, &["an unknown topic"], "responses", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ShareAcknowledge, &[], "error_message", "Kafka has no words for it"),
    known(ApiKey::ShareAcknowledge, &[], "responses.partitions.error_message", "Kafka has no words for it"),
    known(ApiKey::ShareAcknowledge, &["an unknown topic"], "acquisition_lock_timeout_ms", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ShareAcknowledge, &["an unknown topic"], "error_code", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ShareAcknowledge, &["an unknown topic"], "responses", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::ReadShareGroupState, &["an unknown topic"], "results.partitions.error_code", "the error says what is wrong: there is no such topic"),
    known(ApiKey::WriteShareGroupState, &["an unknown topic"], "results.partitions.error_code", "the error says what is wrong: there is no such topic"),
    known(ApiKey::DescribeShareGroupOffsets, &["by nobody"], "groups.error_message", "Kafka has no words for it"),
    known(ApiKey::DescribeTransactions, &["an unknown transactional id", "by nobody"], "transaction_states.producer_epoch", "-1 says that there is no producer; 0 is a producer's id"),
    known(ApiKey::DescribeTransactions, &["an unknown transactional id", "by nobody"], "transaction_states.producer_id", "-1 says that there is no producer; 0 is a producer's id"),
    known(ApiKey::DescribeConfigs, &[], "results.error_message", "null where there is no error, and words where there is one"),
    known(ApiKey::DescribeConfigs, &["a setting with where it comes from"], "results.configs.synonyms", "the broker's default is told, too"),
    known(ApiKey::DescribeConfigs, &["all settings of a topic"], "results.configs", "`flush.policy` is a setting of ours"),
    known(ApiKey::AlterConfigs, &["another broker"], "responses.error_code", "the error says what is wrong: no broker has this id"),
    known(ApiKey::IncrementalAlterConfigs, &["another broker"], "responses.error_code", "the error says what is wrong: no broker has this id"),
    known(ApiKey::IncrementalAlterConfigs, &["an operation that there is not"], "responses.error_code", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::IncrementalAlterConfigs, &["an operation that there is not"], "responses.error_message", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::IncrementalAlterConfigs, &["a setting of the broker that stays"], "responses.error_code", "the setting is what is wrong"),
    known(ApiKey::SaslAuthenticate, &["a user who is not known"], "error_code", "who is known is not told before the proof: an unknown user is refused with the second message"),
    known(ApiKey::SaslAuthenticate, &["a user who is not known"], "error_message", "who is known is not told before the proof: an unknown user is refused with the second message"),
    known(ApiKey::CreateAcls, &["for a topic", "for a topic again", "for topics with a prefix", "for the cluster"], "results.error_message", "null where there is no error"),
    known(ApiKey::CreateAcls, &["for any topic", "for a pattern that matches", "for any operation", "for any permission"], "results.error_code", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::CreateAcls, &["for any topic", "for a pattern that matches", "for any operation", "for any permission"], "results.error_message", "what the client did wrong is no unknown error of the server"),
    known(ApiKey::DescribeUserScramCredentials, &["a user", "all users"], "results.error_message", "null where there is no error"),
    known(ApiKey::DescribeUserScramCredentials, &["by nobody"], "error_message", "the whole request is refused, in words"),
    known(ApiKey::DescribeUserScramCredentials, &["by nobody"], "results", "the whole request is refused, in words"),
    known(ApiKey::DescribeClientQuotas, &["by nobody"], "error_message", "Kafka has no words for it"),
    known(ApiKey::ElectLeaders, &["of all partitions"], "replica_election_results", "topics without an election are left out"),
    known(ApiKey::AlterPartitionReassignments, &["given up where there is none"], "responses.partitions.error_message", "Kafka has no words for it"),
    known(ApiKey::DescribeQuorum, &["the voters"], "topics.partitions.current_voters.last_caught_up_timestamp", "a leader does not fetch from itself"),
    known(ApiKey::DescribeQuorum, &["the voters"], "topics.partitions.current_voters.last_fetch_timestamp", "a leader does not fetch from itself"),
    known(ApiKey::DescribeQuorum, &["the voters"], "nodes.listeners.name", "our listener for brokers and controllers is called so"),
    known(ApiKey::DescribeQuorum, &["the voters"], "topics.partitions.current_voters.replica_directory_id", "voters always have a directory id, which is drawn, and counts as the first value drawn; Kafka's have one from `kraft.version` 1 on"),
    known(ApiKey::DescribeQuorum, &["the voters"], "nodes.listeners.port", "voters always have a directory id, which is drawn, and counts as the first value drawn; Kafka's have one from `kraft.version` 1 on"),
    known(ApiKey::DescribeQuorum, &["another topic"], "topics.partitions.leader_id", "there is one quorum; who leads it is told only of its own topic"),
    known(ApiKey::DescribeQuorum, &["another topic"], "nodes", "there is one quorum; who leads it is told only of its own topic"),
    known(ApiKey::UpdateFeatures, &["to the version that it has"], "results.error_message", "null where there is no error"),
];

/// Why this is different, if that is known.
pub fn reason(found: &Found) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|known| known.covers(found))
        .map(|known| known.reason)
}

/// Reasons for what is not different.
pub fn stale(found: &[Found]) -> Vec<String> {
    let stale = KNOWN
        .iter()
        .filter(|known| !found.iter().any(|found| known.covers(found)));
    stale
        .map(|known| {
            format!(
                "{} {:?}: {}: this is not different: take its line out of tests/differential/differences.rs",
                known.api.name(),
                known.cases,
                known.field
            )
        })
        .collect()
}

impl Known {
    fn covers(&self, found: &Found) -> bool {
        self.api == found.api
            && self.field == found.difference.field
            && (self.cases.is_empty() || self.cases.contains(&found.case))
    }
}
