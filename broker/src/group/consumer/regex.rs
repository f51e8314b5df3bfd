//! Subscriptions by regular expression.

use std::collections::{BTreeMap, BTreeSet};

use super::topics::Seen;
use crate::group::Text;
use crate::pattern::Pattern;

/// The topics that each expression matches. One that is malformed matches none. Takes time in proportion to expressions and
/// topics together.
#[must_use]
pub fn resolve(expressions: &BTreeSet<Text>, seen: &Seen) -> BTreeMap<Text, BTreeSet<Text>> {
    let matches = |expression: &Text| {
        let Ok(pattern) = Pattern::compile(expression) else {
            return BTreeSet::new();
        };
        let topics = seen.image.topics();
        topics
            .filter(|topic| pattern.matches(&topic.name))
            .map(|topic| (*topic.name).into())
            .collect()
    };
    expressions
        .iter()
        .map(|expression| (expression.clone(), matches(expression)))
        .collect()
}
