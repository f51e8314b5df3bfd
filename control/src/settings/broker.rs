//! The settings of a broker, as it works with them.

use super::replica_selector::ReplicaSelector;
use super::value::{IfSet, Value};
use super::{Password, Scope, find};

macro_rules! broker_settings {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ty = $name:literal,)*) => {
        /// The broker settings that Flotilla acts on, resolved: what is set, else the default. Those that stand in for topic
        /// settings are read through [`super::TopicConfig`].
        #[derive(Clone, Debug, PartialEq)]
        pub struct BrokerSettings {
            $($(#[doc = $doc])* #[doc = concat!(" (`", $name, "`)")] pub $field: $kind,)*
        }

        pub(super) const DOCS: &[(&str, &str)] = &[$(($name, concat!($($doc),*)),)*];

        impl BrokerSettings {
            /// Resolves a broker's settings. `set` answers what a setting is set to, if it is set at all: the broker's own
            /// dynamic value, else the cluster's, else the one in its configuration file. A value that its setting does not
            /// take counts as not set: values are checked where they are set.
            #[must_use]
            pub fn resolve(set: &dyn Fn(&str) -> Option<String>) -> Self {
                Self {
                    $($field: resolve($name, set),)*
                }
            }
        }
    };
}

broker_settings! {
    /// How long a broker goes on trying to add a partition to a transaction while the one before ends, in milliseconds.
    add_partitions_to_txn_retry_backoff_max_ms: i32 = "add.partitions.to.txn.retry.backoff.max.ms",
    /// How long it waits between two tries, in milliseconds.
    add_partitions_to_txn_retry_backoff_ms: i32 = "add.partitions.to.txn.retry.backoff.ms",
    /// Whether a topic is created when a client asks for one that does not exist.
    auto_create_topics_enable: bool = "auto.create.topics.enable",
    /// Whether leadership goes back to preferred leaders by itself.
    auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
    /// How often a broker tells the controller that it lives, in milliseconds. Kafka: 2,000.
    broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
    /// After how many milliseconds of silence the controller fences a broker. Kafka: 9,000.
    broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
    /// How long the answer to a failed authentication is held back, in milliseconds.
    connection_failed_authentication_delay_ms: i32 = "connection.failed.authentication.delay.ms",
    /// After how many milliseconds without a request a connection is closed.
    connections_max_idle_ms: i64 = "connections.max.idle.ms",
    /// After how many milliseconds a client must authenticate again (KIP-368); 0: never.
    connections_max_reauth_ms: i64 = "connections.max.reauth.ms",
    /// Whether leadership is handed over before a broker stops.
    controlled_shutdown_enable: bool = "controlled.shutdown.enable",
    /// In how many windows creating and deleting partitions is counted for quotas: so many times the rate may be saved up (KIP-599).
    controller_quota_window_num: i32 = "controller.quota.window.num",
    /// How long each of these windows is, in seconds.
    controller_quota_window_size_seconds: i32 = "controller.quota.window.size.seconds",
    /// How many replicas a topic has that was created without saying so.
    default_replication_factor: i32 = "default.replication.factor",
    /// How often the controller looks for delegation tokens that have expired, in milliseconds.
    delegation_token_expiry_check_interval_ms: i64 = "delegation.token.expiry.check.interval.ms",
    /// How long a delegation token holds after it was issued or renewed, at most, in milliseconds.
    delegation_token_expiry_time_ms: i64 = "delegation.token.expiry.time.ms",
    /// How long a delegation token holds in all, however often it is renewed, at most, in milliseconds.
    delegation_token_max_lifetime_ms: i64 = "delegation.token.max.lifetime.ms",
    /// From what delegation tokens are made (KIP-48), the same on all brokers: who knows it can be anyone. Without it there are none.
    delegation_token_secret_key: Password = "delegation.token.secret.key",
    /// Whether topics can be deleted.
    delete_topic_enable: bool = "delete.topic.enable",
    /// The most bytes that one fetch returns, whatever the client asks for.
    fetch_max_bytes: i32 = "fetch.max.bytes",
    /// How many bytes a second are fetched for replicas that are throttled and not in sync.
    follower_replication_throttled_rate: i64 = "follower.replication.throttled.rate",
    /// Which replicas the rate for followers holds for, beside those that topics name: none or `*` (KIP-1009).
    follower_replication_throttled_replicas: String = "follower.replication.throttled.replicas",
    /// How long after an assignment a consumer group of the new protocol is not assigned anew, in milliseconds, where the group
    /// sets nothing of its own (KIP-1263).
    group_consumer_assignment_interval_ms: i32 = "group.consumer.assignment.interval.ms",
    /// Which assignors consumer groups of the new protocol can have; the first where members ask for none.
    group_consumer_assignors: Vec<String> = "group.consumer.assignors",
    /// How often members of consumer groups of the new protocol send heartbeats, in milliseconds, where the group sets nothing
    /// of its own.
    group_consumer_heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms",
    /// The longest assignment interval that a group may set for itself, in milliseconds.
    group_consumer_max_assignment_interval_ms: i32 = "group.consumer.max.assignment.interval.ms",
    /// The longest heartbeat interval that a group may set for itself, in milliseconds.
    group_consumer_max_heartbeat_interval_ms: i32 = "group.consumer.max.heartbeat.interval.ms",
    /// The longest session timeout that a group may set for itself, in milliseconds.
    group_consumer_max_session_timeout_ms: i32 = "group.consumer.max.session.timeout.ms",
    /// The most members that a consumer group of the new protocol may have.
    group_consumer_max_size: i32 = "group.consumer.max.size",
    /// Whether a group that has members goes from the classic protocol to the new one when the first member joins that speaks it
    /// (`upgrade`), back when the last such member has left (`downgrade`), both (`bidirectional`) or neither (`disabled`).
    group_consumer_migration_policy: String = "group.consumer.migration.policy",
    /// The shortest assignment interval that a group may set for itself, in milliseconds.
    group_consumer_min_assignment_interval_ms: i32 = "group.consumer.min.assignment.interval.ms",
    /// The shortest heartbeat interval that a group may set for itself, in milliseconds.
    group_consumer_min_heartbeat_interval_ms: i32 = "group.consumer.min.heartbeat.interval.ms",
    /// The shortest session timeout that a group may set for itself, in milliseconds.
    group_consumer_min_session_timeout_ms: i32 = "group.consumer.min.session.timeout.ms",
    /// After how many milliseconds of silence a member of a consumer group of the new protocol is put out, where the group sets
    /// nothing of its own.
    group_consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms",
    /// How long an empty group waits for more members before its first rebalance, in milliseconds.
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
    /// The longest session timeout that a group member may ask for, in milliseconds.
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
    /// The most members that a group may have.
    group_max_size: i32 = "group.max.size",
    /// The shortest session timeout that a group member may ask for, in milliseconds.
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
    /// How long after an assignment a share group is not assigned anew, in milliseconds, where the group sets nothing of its own
    /// (KIP-1263).
    group_share_assignment_interval_ms: i32 = "group.share.assignment.interval.ms",
    /// How often a record is delivered to a share group at most, where the group sets nothing of its own.
    group_share_delivery_count_limit: i32 = "group.share.delivery.count.limit",
    /// How often members of share groups send heartbeats, in milliseconds, where the group sets nothing of its own.
    group_share_heartbeat_interval_ms: i32 = "group.share.heartbeat.interval.ms",
    /// The longest assignment interval that a share group may set for itself, in milliseconds.
    group_share_max_assignment_interval_ms: i32 = "group.share.max.assignment.interval.ms",
    /// The most deliveries of a record that a share group may set for itself.
    group_share_max_delivery_count_limit: i32 = "group.share.max.delivery.count.limit",
    /// The longest heartbeat interval that a share group may set for itself, in milliseconds.
    group_share_max_heartbeat_interval_ms: i32 = "group.share.max.heartbeat.interval.ms",
    /// The most locks on a partition's records that a share group may set for itself.
    group_share_max_partition_max_record_locks: i32 = "group.share.max.partition.max.record.locks",
    /// The longest lock on a record that a share group may set for itself, in milliseconds.
    group_share_max_record_lock_duration_ms: i32 = "group.share.max.record.lock.duration.ms",
    /// The longest session timeout that a share group may set for itself, in milliseconds.
    group_share_max_session_timeout_ms: i32 = "group.share.max.session.timeout.ms",
    /// The most share sessions that a broker has at a time: one for each member that fetches from it.
    group_share_max_share_sessions: i32 = "group.share.max.share.sessions",
    /// The most members that a share group may have.
    group_share_max_size: i32 = "group.share.max.size",
    /// The shortest assignment interval that a share group may set for itself, in milliseconds.
    group_share_min_assignment_interval_ms: i32 = "group.share.min.assignment.interval.ms",
    /// The fewest deliveries of a record that a share group may set for itself.
    group_share_min_delivery_count_limit: i32 = "group.share.min.delivery.count.limit",
    /// The shortest heartbeat interval that a share group may set for itself, in milliseconds.
    group_share_min_heartbeat_interval_ms: i32 = "group.share.min.heartbeat.interval.ms",
    /// The fewest locks on a partition's records that a share group may set for itself.
    group_share_min_partition_max_record_locks: i32 = "group.share.min.partition.max.record.locks",
    /// The shortest lock on a record that a share group may set for itself, in milliseconds.
    group_share_min_record_lock_duration_ms: i32 = "group.share.min.record.lock.duration.ms",
    /// The shortest session timeout that a share group may set for itself, in milliseconds.
    group_share_min_session_timeout_ms: i32 = "group.share.min.session.timeout.ms",
    /// How many records of a partition a share group may have locked, where the group sets nothing of its own.
    group_share_partition_max_record_locks: i32 = "group.share.partition.max.record.locks",
    /// How long a record is locked for the member of a share group that it was delivered to, in milliseconds, where the group
    /// sets nothing of its own.
    group_share_record_lock_duration_ms: i32 = "group.share.record.lock.duration.ms",
    /// After how many milliseconds of silence a member of a share group is put out, where the group sets nothing of its own.
    group_share_session_timeout_ms: i32 = "group.share.session.timeout.ms",
    /// How long after an assignment a streams group is not assigned anew, in milliseconds, where the group sets nothing of its own
    /// (KIP-1263).
    group_streams_assignment_interval_ms: i32 = "group.streams.assignment.interval.ms",
    /// How often members of streams groups send heartbeats, in milliseconds, where the group sets nothing of its own.
    group_streams_heartbeat_interval_ms: i32 = "group.streams.heartbeat.interval.ms",
    /// How long an empty streams group waits for more members before tasks are assigned, in milliseconds, where the group sets
    /// nothing of its own.
    group_streams_initial_rebalance_delay_ms: i32 = "group.streams.initial.rebalance.delay.ms",
    /// The longest assignment interval that a streams group may set for itself, in milliseconds.
    group_streams_max_assignment_interval_ms: i32 = "group.streams.max.assignment.interval.ms",
    /// The longest heartbeat interval that a streams group may set for itself, in milliseconds.
    group_streams_max_heartbeat_interval_ms: i32 = "group.streams.max.heartbeat.interval.ms",
    /// The longest session timeout that a streams group may set for itself, in milliseconds.
    group_streams_max_session_timeout_ms: i32 = "group.streams.max.session.timeout.ms",
    /// The most members, which are threads of instances, that a streams group may have.
    group_streams_max_size: i32 = "group.streams.max.size",
    /// The most standbys of each task that a streams group may set for itself.
    group_streams_max_standby_replicas: i32 = "group.streams.max.standby.replicas",
    /// The shortest assignment interval that a streams group may set for itself, in milliseconds.
    group_streams_min_assignment_interval_ms: i32 = "group.streams.min.assignment.interval.ms",
    /// The shortest heartbeat interval that a streams group may set for itself, in milliseconds.
    group_streams_min_heartbeat_interval_ms: i32 = "group.streams.min.heartbeat.interval.ms",
    /// The shortest session timeout that a streams group may set for itself, in milliseconds.
    group_streams_min_session_timeout_ms: i32 = "group.streams.min.session.timeout.ms",
    /// How many standbys each task with state has, where the group sets nothing of its own.
    group_streams_num_standby_replicas: i32 = "group.streams.num.standby.replicas",
    /// After how many milliseconds of silence a member of a streams group is put out, where the group sets nothing of its own.
    group_streams_session_timeout_ms: i32 = "group.streams.session.timeout.ms",
    /// How often the controller looks for partitions led by another than their preferred leader, in seconds.
    leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
    /// How many bytes a second are sent to replicas that are throttled and not in sync.
    leader_replication_throttled_rate: i64 = "leader.replication.throttled.rate",
    /// Which replicas the rate for leaders holds for, beside those that topics name: none or `*` (KIP-1009).
    leader_replication_throttled_replicas: String = "leader.replication.throttled.replicas",
    /// How long a thread that compacts logs rests where none is due, in milliseconds.
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms",
    /// How much memory compaction takes for keys, in bytes, shared by its threads: 24 for each key.
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
    /// Whether logs are compacted at all.
    log_cleaner_enable: bool = "log.cleaner.enable",
    /// How full the memory for keys may become, as a fraction.
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
    /// How much memory compaction takes for reading and writing, in bytes, shared by its threads.
    log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size",
    /// How many bytes a second compaction reads and writes, all threads together.
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    /// How many threads compact logs.
    log_cleaner_threads: i32 = "log.cleaner.threads",
    /// How many bytes a volume keeps free: with less, its broker takes no records until there is room again. -1: a hundredth
    /// of the file system, but at least 64 MiB and at most 1 GiB. Ours alone.
    log_dir_free_min_bytes: i64 = "log.dir.free.min.bytes",
    /// How often recovery points are written, in milliseconds.
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
    /// How often log start offsets are written, in milliseconds.
    log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
    /// How often logs are searched for segments whose time is over, in milliseconds.
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
    /// All that lies on a volume is read again at most once in so many milliseconds, to see whether it still is what was written.
    /// Ours alone.
    log_scrub_interval_ms: i64 = "log.scrub.interval.ms",
    /// How many bytes a second are read for that from each volume; 0: none, and nothing is looked for. Ours alone.
    log_scrub_max_bytes_per_second: i64 = "log.scrub.max.bytes.per.second",
    /// The most connections to a broker.
    max_connections: i32 = "max.connections",
    /// The most connections to a broker from one address.
    max_connections_per_ip: i32 = "max.connections.per.ip",
    /// Other limits for single addresses: address:limit pairs.
    max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides",
    /// How many connections of clients a broker accepts per second (KIP-612). What is not used is saved up for a second.
    max_connection_creation_rate: i32 = "max.connection.creation.rate",
    /// How many fetch sessions are kept (KIP-227).
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
    /// The most partitions that one DescribeTopicPartitions answers for.
    max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
    /// How many partitions a topic has that was created without saying so.
    num_partitions: i32 = "num.partitions",
    /// How many threads recover the logs of one volume after a crash.
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir",
    /// How many loops fetch from each leader.
    num_replica_fetchers: i32 = "num.replica.fetchers",
    /// The longest metadata that a committed offset carries, in bytes.
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
    /// How long an offset commit waits for its replicas, in milliseconds.
    offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
    /// How many bytes are read at a time where the groups of a coordinator are loaded. Where it is not set: 1 MiB.
    offsets_load_buffer_size: IfSet<i32> = "offsets.load.buffer.size",
    /// How often groups are searched for offsets whose time is over, in milliseconds.
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
    /// How long the offsets of an empty group are kept, in minutes.
    offsets_retention_minutes: i32 = "offsets.retention.minutes",
    /// How many partitions `__consumer_offsets` has.
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
    /// How many replicas `__consumer_offsets` has, or as many as there are brokers where they are fewer.
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
    /// The size of the segments of `__consumer_offsets`, in bytes.
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
    /// How long an idle producer id is remembered, in milliseconds.
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
    /// The most bytes of requests in flight; -1: Flotilla's own limit, which is never absent.
    queued_max_request_bytes: i64 = "queued.max.request.bytes",
    /// In how many windows usage is counted for client quotas, the one under way included (KIP-13).
    quota_window_num: i32 = "quota.window.num",
    /// How long each of these windows is, in seconds.
    quota_window_size_seconds: i32 = "quota.window.size.seconds",
    /// How many bytes a second are copied from volume to volume where replicas are moved between those of a broker (KIP-113).
    replica_alter_log_dirs_io_max_bytes_per_second: i64 = "replica.alter.log.dirs.io.max.bytes.per.second",
    /// How long a follower waits after a failed fetch, in milliseconds.
    replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
    /// How many bytes a follower asks for from each partition.
    replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
    /// How many bytes a leader waits for before it answers a follower.
    replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
    /// How many bytes a follower asks for in one fetch.
    replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
    /// How long a leader waits for bytes before it answers a follower, in milliseconds.
    replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
    /// How often high watermarks are written to disk, in milliseconds.
    replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
    /// How long a follower may lag before it leaves the ISR, in milliseconds.
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
    /// Which replica serves a consumer: the leader, or one of the consumer's rack (KIP-392).
    replica_selector_class: ReplicaSelector = "replica.selector.class",
    /// The receive buffer of a follower's connection, in bytes. Where it is not set, or is -1, the system sizes it as it goes.
    replica_socket_receive_buffer_bytes: IfSet<i32> = "replica.socket.receive.buffer.bytes",
    /// How long a follower's request may take beyond the wait that it asks for, in milliseconds.
    replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
    /// By how many seconds the clock of who signs tokens may differ from the brokers' (KIP-768).
    sasl_oauthbearer_clock_skew_seconds: i32 = "sasl.oauthbearer.clock.skew.seconds",
    /// For whom tokens have to be, one of these at least; none: for anybody.
    sasl_oauthbearer_expected_audience: Vec<String> = "sasl.oauthbearer.expected.audience",
    /// Who has to have issued tokens; none: anybody whose key is known.
    sasl_oauthbearer_expected_issuer: String = "sasl.oauthbearer.expected.issuer",
    /// How often the keys that tokens are checked with are read anew, in milliseconds.
    sasl_oauthbearer_jwks_endpoint_refresh_ms: i64 = "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    /// The longest wait before it is tried again to read them, in milliseconds.
    sasl_oauthbearer_jwks_endpoint_retry_backoff_max_ms: i64 = "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
    /// The first wait before that, in milliseconds; it doubles.
    sasl_oauthbearer_jwks_endpoint_retry_backoff_ms: i64 = "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
    /// Where these keys are: https:// or file:///, or http:// for an address of the machine itself.
    sasl_oauthbearer_jwks_endpoint_url: String = "sasl.oauthbearer.jwks.endpoint.url",
    /// Which claim of a token names scopes.
    sasl_oauthbearer_scope_claim_name: String = "sasl.oauthbearer.scope.claim.name",
    /// Which claim of a token names the user.
    sasl_oauthbearer_sub_claim_name: String = "sasl.oauthbearer.sub.claim.name",
    /// The largest request before authentication, in bytes.
    sasl_server_max_receive_size: i32 = "sasl.server.max.receive.size",
    /// How many bytes are read at a time where the share partitions of a coordinator are loaded. Where it is not set: 1 MiB.
    share_coordinator_load_buffer_size: IfSet<i32> = "share.coordinator.load.buffer.size",
    /// `min.insync.replicas` of `__share_group_state`.
    share_coordinator_state_topic_min_isr: i16 = "share.coordinator.state.topic.min.isr",
    /// How many partitions `__share_group_state` has.
    share_coordinator_state_topic_num_partitions: i32 = "share.coordinator.state.topic.num.partitions",
    /// How many replicas `__share_group_state` has, or as many as there are brokers where they are fewer.
    share_coordinator_state_topic_replication_factor: i16 = "share.coordinator.state.topic.replication.factor",
    /// The size of the segments of `__share_group_state`, in bytes.
    share_coordinator_state_topic_segment_bytes: i32 = "share.coordinator.state.topic.segment.bytes",
    /// How long a share coordinator waits for what it stores to be committed, in milliseconds.
    share_coordinator_write_timeout_ms: i32 = "share.coordinator.write.timeout.ms",
    /// How many connections may wait to be accepted. Where it is not set: 1,024.
    socket_listen_backlog_size: IfSet<i32> = "socket.listen.backlog.size",
    /// The receive buffer of a client's connection, in bytes. Where it is not set, or is -1, the system sizes it as it goes.
    socket_receive_buffer_bytes: IfSet<i32> = "socket.receive.buffer.bytes",
    /// The largest request, in bytes.
    socket_request_max_bytes: i32 = "socket.request.max.bytes",
    /// The send buffer of a client's connection, in bytes. Where it is not set, or is -1, the system sizes it as it goes.
    socket_send_buffer_bytes: IfSet<i32> = "socket.send.buffer.bytes",
    /// Which versions of TLS listeners of clients speak; none named: both.
    ssl_enabled_protocols: Vec<String> = "ssl.enabled.protocols",
    /// The most bytes that a client may push of its metrics at once, compressed as they are (KIP-714).
    telemetry_max_bytes: i32 = "telemetry.max.bytes",
    /// How often transactions are looked for that are open for longer than their timeout, in milliseconds.
    transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    /// The longest timeout that a transaction may ask for, in milliseconds.
    transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms",
    /// Whether a batch of a transaction is taken only once its coordinator has confirmed the partition.
    transaction_partition_verification_enable: bool = "transaction.partition.verification.enable",
    /// How often transactional ids are looked for that have been idle for too long, in milliseconds.
    transaction_remove_expired_transaction_cleanup_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms",
    /// How many bytes are read at a time where the transactions of a coordinator are loaded. Where it is not set: 1 MiB.
    transaction_state_log_load_buffer_size: IfSet<i32> = "transaction.state.log.load.buffer.size",
    /// `min.insync.replicas` of `__transaction_state`.
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr",
    /// How many partitions `__transaction_state` has.
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
    /// How many replicas `__transaction_state` has, or as many as there are brokers where they are fewer.
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
    /// The size of the segments of `__transaction_state`, in bytes.
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
    /// How long an idle transactional id is remembered, in milliseconds.
    transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
}

/// Settings that have no field here: who acts on them reads them by name.
pub(super) const READ_BY_NAME: &[(&str, &str)] = &[(
    "num.replica.alter.log.dirs.threads",
    "How many replicas are copied at a time where they are moved between the volumes of a broker. Where it is not set: one for each volume.",
)];

impl Default for BrokerSettings {
    /// The defaults: what a broker has of which nothing is said.
    fn default() -> Self {
        Self::resolve(&|_| None)
    }
}

fn resolve<T: Value>(name: &'static str, set: &dyn Fn(&str) -> Option<String>) -> T {
    let setting =
        find(Scope::Broker, name).expect("every field names a setting of the table: a test reads them all");
    set(name)
        .filter(|value| setting.check(value).is_ok())
        .and_then(|value| T::read(&value))
        .or_else(T::unset)
        .or_else(|| T::read(setting.default.unwrap_or_default()))
        .expect("every default is of its field's type: a test reads them all")
}
