//! The conditions that all three resources report, and the words that they use for reasons. They follow kstatus, so that
//! Argo CD and Flux judge health without a script.

use std::fmt;

/// The types of conditions in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// Always present: whether the resource is as it was asked for.
    Ready,
    /// Present while work is under way.
    Reconciling,
    /// Present while nothing moves until somebody acts.
    Stalled,
    /// Present while `paused` is set, beside `Ready`.
    Paused,
}

impl ConditionType {
    /// Every type, in the order of the documentation.
    pub const ALL: &[Self] = &[Self::Ready, Self::Reconciling, Self::Stalled, Self::Paused];

    /// The statuses that it can have, each with what it means.
    #[must_use]
    pub fn meanings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ready => &[
                ("True", "It is as it was asked for. `Ready` is always there."),
                (
                    "False",
                    "It is not, or not yet: `Reconciling` or `Stalled` says which.",
                ),
                ("Unknown", "Nobody can tell, because the brokers do not answer."),
            ],
            Self::Reconciling => &[(
                "True",
                "Work is under way, or is tried again by itself. Gone when it is done.",
            )],
            Self::Stalled => &[(
                "True",
                "Nothing moves until somebody acts. What runs goes on as it was.",
            )],
            Self::Paused => &[(
                "True",
                "`spec.paused` of the Cluster is set. Stands beside `Ready`, which keeps what was known.",
            )],
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! reasons {
    ($(#[doc = $doc:literal] $name:ident => $advice:literal,)*) => {
        /// Why a condition is as it is: one word from this list, and no other.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $doc] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $doc.trim_ascii_start(),)*
                }
            }

            /// What the user can do about it.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self {
                    $(Self::$name => $advice,)*
                }
            }
        }
    };
}

reasons! {
    /// All is as it was asked for.
    Available => "Nothing: it is as it was asked for.",
    /// Being made for the first time.
    Creating => "Wait; the message says what is still missing.",
    /// Brokers restart one after another.
    Rolling => "Wait; the message says which broker is next.",
    /// Brokers are added or taken away.
    Scaling => "Wait; the message says how far it is.",
    /// A broker hands its replicas over before it goes.
    Draining => "Wait; the message says how many replicas are left.",
    /// Replicas move to even out the load.
    Rebalancing => "Wait; the message says how many bytes are left.",
    /// A broker reads its log after an unclean stop.
    Recovering => "Wait; the message says how far it is.",
    /// The specification cannot be followed.
    InvalidSpec => "Correct the field that the message names.",
    /// There is no such Cluster.
    ClusterNotFound => "Create the Cluster, or correct `spec.cluster`.",
    /// The Cluster does not take resources from this namespace, or not this name.
    NotAllowed => "Ask the Cluster's owner to allow it in `spec.allowedNamespaces`.",
    /// Another resource owns the topic or user.
    Conflict => "Delete one of the two; the message names the other.",
    /// The brokers do not answer.
    Unreachable => "Look at the brokers; it is tried again by itself.",
    /// Most voters of the quorum are gone.
    QuorumLost => "Bring back the brokers that the message names.",
    /// A broker's volume is full.
    StorageFull => "Make the volume larger, or shorten retention.",
    /// The image cannot be had.
    ImageUnavailable => "Correct `spec.image` or its pull secret.",
    /// No node takes the pod.
    Unschedulable => "Add nodes, or ask for less.",
    /// There are too few brokers for the replicas.
    NotEnoughBrokers => "Ask for fewer replicas, or add brokers.",
    /// On its way out.
    Deleting => "Wait.",
    /// Deletion would lose data, and the policy forbids it.
    BlockedByData => "Empty the topic, or change `deletionPolicy`.",
    /// The Cluster is left as it is.
    Paused => "Take `spec.paused` of the Cluster away when it should go on.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
