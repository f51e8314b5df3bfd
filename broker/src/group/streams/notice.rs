//! What members are told of the state of their group.

/// The kinds of it; the numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The member's topology is older than the group's.
    StaleTopology = 0,
    /// Topics that the application reads are not there.
    MissingSourceTopics = 1,
    /// Topics do not have as many partitions as they must.
    IncorrectlyPartitionedTopics = 2,
    /// Topics that the coordinator has created for the application are not there yet.
    MissingInternalTopics = 3,
    /// A member asks all of them to end.
    ShutdownApplication = 4,
    /// Tasks are not assigned yet, since more members may come, or since they were assigned a moment ago.
    AssignmentDelayed = 5,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which kind.
    pub status: Status,
    /// For the one who reads the client's log.
    pub detail: String,
}
