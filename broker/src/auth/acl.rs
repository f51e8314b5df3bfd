//! The words of access rules, with Kafka's numbers, and what each of them covers.

use flotilla_control::proto::metadata::Acl;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i8)]
        pub enum $name { $($(#[$item_doc])* $variant = $number,)* }

        impl $name {
            /// Kafka's number.
            #[must_use]
            pub fn code(self) -> i8 {
                self as i8
            }

            /// From Kafka's number; none where it stands for nothing in a rule.
            #[must_use]
            pub fn from_code(code: i32) -> Option<Self> {
                match code {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What a rule protects.
    ResourceType {
        /// A topic, by name.
        Topic = 2,
        /// A group, by id.
        Group = 3,
        /// The cluster as a whole: its only name is [`super::CLUSTER_RESOURCE`].
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token, by id.
        DelegationToken = 6,
        /// A user, as the owner of delegation tokens (KIP-373).
        User = 7,
    }
}

numbered! {
    /// What a rule lets one do.
    Operation {
        /// Everything.
        All = 2,
        /// Reading records, joining groups.
        Read = 3,
        /// Writing records.
        Write = 4,
        /// Creating.
        Create = 5,
        /// Deleting.
        Delete = 6,
        /// Changing what something is.
        Alter = 7,
        /// Seeing that something exists, and its state.
        Describe = 8,
        /// What only brokers do.
        ClusterAction = 9,
        /// Reading settings.
        DescribeConfigs = 10,
        /// Changing settings.
        AlterConfigs = 11,
        /// Idempotent producing, in rules older than Kafka 2.8.
        IdempotentWrite = 12,
        /// Making delegation tokens for another (KIP-373).
        CreateTokens = 13,
        /// Seeing another's delegation tokens (KIP-373).
        DescribeTokens = 14,
        /// Two-phase commit (KIP-939).
        TwoPhaseCommit = 15,
    }
}

numbered! {
    /// How a rule's resource name is read.
    PatternType {
        /// The name itself; `*` means every name.
        Literal = 3,
        /// Every name that begins so (KIP-290).
        Prefixed = 4,
    }
}

numbered! {
    /// Whether a rule grants or forbids. A rule that forbids wins.
    PermissionType {
        /// Forbids.
        Deny = 2,
        /// Grants.
        Allow = 3,
    }
}

/// The resource name that means every name, in a literal rule.
pub const WILDCARD: &str = "*";

impl ResourceType {
    /// The operations that make sense on such a resource, in the order of their numbers: what a rule may name, and what
    /// the "authorized operations" of a response are drawn from (KIP-430).
    #[must_use]
    pub fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, CreateTokens, Delete, Describe, DescribeConfigs,
            DescribeTokens, IdempotentWrite, Read, TwoPhaseCommit, Write,
        };
        match self {
            Self::Topic => &[
                Read,
                Write,
                Create,
                Delete,
                Alter,
                Describe,
                DescribeConfigs,
                AlterConfigs,
            ],
            Self::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => &[
                Create,
                Alter,
                Describe,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
            ],
            Self::TransactionalId => &[Write, Describe, TwoPhaseCommit],
            Self::DelegationToken => &[Describe],
            Self::User => &[CreateTokens, DescribeTokens],
        }
    }
}

impl Operation {
    /// Whether a rule that *grants* `self` grants `wanted` with it.
    #[must_use]
    pub fn implies(self, wanted: Self) -> bool {
        self == wanted
            || self == Self::All
            || match wanted {
                Self::Describe => matches!(self, Self::Read | Self::Write | Self::Delete | Self::Alter),
                Self::DescribeConfigs => self == Self::AlterConfigs,
                _ => false,
            }
    }
}

/// Whether the rule's resource covers this one.
#[must_use]
pub fn covers(rule: &Acl, resource_type: ResourceType, name: &str) -> bool {
    rule.resource_type == i32::from(resource_type.code())
        && match PatternType::from_code(rule.pattern_type) {
            Some(PatternType::Literal) => rule.resource_name == name || rule.resource_name == WILDCARD,
            Some(PatternType::Prefixed) => name.starts_with(&rule.resource_name),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: PatternType, name: &str) -> Acl {
        Acl {
            resource_type: ResourceType::Topic.code().into(),
            resource_name: name.into(),
            pattern_type: pattern.code().into(),
            ..Acl::default()
        }
    }

    #[test]
    fn literal_rule_covers_its_name_and_the_wildcard_every_name() {
        assert!(covers(
            &rule(PatternType::Literal, "orders"),
            ResourceType::Topic,
            "orders"
        ));
        assert!(!covers(
            &rule(PatternType::Literal, "orders"),
            ResourceType::Topic,
            "orders-2"
        ));
        assert!(!covers(
            &rule(PatternType::Literal, "orders"),
            ResourceType::Group,
            "orders"
        ));
        assert!(covers(
            &rule(PatternType::Literal, "*"),
            ResourceType::Topic,
            "orders"
        ));
    }

    #[test]
    fn prefixed_rule_covers_names_that_begin_so_and_takes_a_star_literally() {
        assert!(covers(
            &rule(PatternType::Prefixed, "shop-"),
            ResourceType::Topic,
            "shop-orders"
        ));
        assert!(!covers(
            &rule(PatternType::Prefixed, "shop-"),
            ResourceType::Topic,
            "shop"
        ));
        assert!(!covers(
            &rule(PatternType::Prefixed, "*"),
            ResourceType::Topic,
            "orders"
        ));
    }

    #[test]
    fn rule_with_unknown_pattern_covers_nothing() {
        let mut odd = rule(PatternType::Literal, "orders");
        odd.pattern_type = 9;
        assert!(!covers(&odd, ResourceType::Topic, "orders"));
    }

    #[test]
    fn numbers_read_back() {
        for code in -1..20 {
            assert_eq!(Operation::from_code(code).map_or(code, |o| o.code().into()), code);
            assert_eq!(
                ResourceType::from_code(code).map_or(code, |o| o.code().into()),
                code
            );
        }
        assert_eq!(Operation::from_code(1), None);
        assert_eq!(PermissionType::from_code(1), None);
    }
}
