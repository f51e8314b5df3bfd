//! Why settings have no effect here: each says what is the case instead, and what to use if there is something.

/// A setting that is known and does nothing here: Kafka's default is taken, for tools and manifests repeat defaults, and any
/// other value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEffect {
    /// What is the case here, and what to use instead.
    pub reason: &'static str,
    /// Values that are taken beside the default: they say what is the case here.
    pub also: &'static [&'static str],
}

pub(super) const BROKER_CONNECTIONS: &str =
    "connections between brokers go by times of their own: one is made within 5 s or tried again";
pub(super) const BROKER_LOGIN: &str =
    "brokers prove themselves to each other with certificates of their own, and log in nowhere";
pub(super) const BROKER_NAMES: &str =
    "brokers know each other by the ids in their certificates, not by the names of hosts";
pub(super) const CERTIFICATE_NAMES: &str =
    "certificates are read again when their files change, whatever names stand in the new ones";
pub(super) const CERTIFICATE_USER: &str =
    "the user of a client certificate is its common name as it stands there";
pub(super) const CONFIG_PROVIDERS: &str =
    "there is no JVM to load providers into: values are taken as they stand";
pub(super) const COORDINATOR_BATCHES: &str =
    "a coordinator ends a batch at 256 KiB, and keeps no memory for the next one";
pub(super) const COORDINATOR_CODEC: &str = "the records of coordinators are written uncompressed";
pub(super) const COORDINATOR_LINGER: &str =
    "a coordinator writes in one batch what it is asked at the same time, and waits for nothing more";
pub(super) const COORDINATOR_THREADS: &str = "each partition of a coordinator is a task of its own on the threads that all share: one for each processor";
pub(super) const FAILED_VOLUME: &str = "a broker whose volume failed stops at once, and others take over";
pub(super) const GROUP_PROTOCOLS: &str = "the protocols of groups are switched by the features `group.version`, `share.version` and `streams.version`: use kafka-features.sh";
pub(super) const JAVA_TLS: &str =
    "TLS is not Java's here: it has no providers, factories and managers to choose from";
pub(super) const KERBEROS: &str = "there is no Kerberos (GSSAPI): users come in by SCRAM, PLAIN, OAUTHBEARER or certificates, as `spec.listeners` says";
pub(super) const LZ4_LEVEL: &str =
    "LZ4 has one level here: use zstd with `compression.zstd.level` where smaller batches are worth the time";
pub(super) const METADATA_IDLE: &str = "nothing is written to the metadata log while nothing happens";
pub(super) const METADATA_LOG: &str =
    "the metadata log is cut behind a snapshot, which is made after 2,000 entries or 16 MiB of them";
pub(super) const METRICS: &str = "there are no reporters and no samples: Prometheus reads the metrics of a broker from its admin port, see docs/metrics.md";
pub(super) const MOVE_WINDOWS: &str =
    "a rate for replicas holds for each second, and is not counted in windows";
pub(super) const OAUTH_CLIENT: &str =
    "it is for clients that fetch a token: a broker fetches none, and only checks those of clients";
pub(super) const OAUTH_VALIDATOR: &str =
    "there is no JVM to load a class into: tokens are checked by the other settings of `sasl.oauthbearer.`";
pub(super) const POLICY: &str = "there is no JVM to load a policy into: give the right to create and alter by ACLs, or check Topic resources at their admission";
pub(super) const PRINCIPAL: &str = "there is no JVM to load a class into: the principal is the SASL user, or the common name of the client certificate";
pub(super) const PURGATORY: &str =
    "a request that waits leaves nothing behind when it ends: there is no purgatory to purge";
pub(super) const QUEUED_REQUESTS: &str = "a connection has one request handled at a time: use `queued.max.request.bytes` to limit what all of them hold";
pub(super) const QUORUM_PIECES: &str = "the quorum sends its log and snapshots in pieces of 1 MiB";
pub(super) const QUORUM_TIMES: &str =
    "the quorum goes by times of its own: a leader that is silent for 600 to 800 ms is replaced";
pub(super) const QUOTA_CALLBACK: &str = "there is no JVM to load a callback into: quotas are those of users and client ids, by kafka-configs.sh or User resources";
pub(super) const REGISTRATION: &str = "a broker tries to register for as long as it runs";
pub(super) const REQUEST_TIMEOUT: &str =
    "what a broker asks of others has limits of its own: 30 s for a change of the metadata";
pub(super) const SASL_CLASS: &str =
    "there is no JVM to load a class into: the ways to come in are those of `spec.listeners`";
pub(super) const SASL_JAAS: &str = "users and their passwords are those of User resources or of kafka-configs.sh (SCRAM), and stand in no setting";
pub(super) const SHARE_ASSIGNORS: &str =
    "share groups have the assignor `simple`, and there is no JVM to load another into";
pub(super) const SHARE_UPDATES: &str =
    "each record of `__share_group_state` says all that is stored: there are no updates between snapshots";
pub(super) const THREADS: &str =
    "listeners, requests and upkeep share one thread for each processor: there are no pools to size";
pub(super) const TIERED_STORAGE: &str =
    "there is no tiered storage (KIP-405): all records lie on the volumes of the brokers";
pub(super) const TLS_VERSIONS: &str = "listeners speak TLS 1.3 and 1.2, or those of them that `ssl.enabled.protocols` names, with the cipher suites that are held to be safe";
pub(super) const TWO_PHASE_COMMIT: &str = "there is no two-phase commit of transactions (KIP-939)";
