//! Who stands at the other end of a connection.

use std::fmt;
use std::sync::Arc;

/// A principal as access rules name it: `User:alice`. Kafka knows other types in principle, its brokers only `User`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    name: Arc<str>,
}

impl Principal {
    /// The type that stands before the colon.
    pub const TYPE: &'static str = "User";

    /// Of the user with this name.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// Of a connection that did not authenticate, where a listener allows that.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The part after the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads `User:name`; none where the type is another or the name is missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        (kind == Self::TYPE && !name.is_empty()).then(|| Self::user(name))
    }

    /// Whether an access rule's principal (`User:name`, or `User:*` for everyone) means this one.
    #[must_use]
    pub fn is_meant_by(&self, rule: &str) -> bool {
        rule.strip_prefix("User:")
            .is_some_and(|name| name == "*" || name == self.name())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::TYPE, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_reads_back_as_it_prints() {
        let principal = Principal::user("shop:checkout");
        assert_eq!(principal.to_string(), "User:shop:checkout");
        assert_eq!(Principal::parse("User:shop:checkout"), Some(principal));
        for text in ["", "User", "User:", "Group:x", "user:x"] {
            assert_eq!(Principal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rule_for_everyone_means_anonymous_too() {
        assert!(Principal::anonymous().is_meant_by("User:*"));
        assert!(Principal::anonymous().is_meant_by("User:ANONYMOUS"));
        assert!(!Principal::user("a").is_meant_by("User:b"));
        assert!(!Principal::user("a").is_meant_by("Group:a"));
    }
}
