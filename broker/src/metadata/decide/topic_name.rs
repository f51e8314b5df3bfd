//! What a topic may be called: Kafka's rules.

use flotilla_control::proto::metadata::Refusal;

use super::{Draft, Refused, refuse};

/// The longest name, in characters: with the partition's number it still is a file name.
const LENGTH_MAX: usize = 249;

/// Whether a topic may be created under a name.
pub(super) fn check(draft: &Draft<'_, '_>, name: &str) -> Result<(), Refused> {
    let invalid = |message: String| Err(refuse(Refusal::InvalidTopicName, message));
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return invalid("a topic's name cannot be empty".to_owned());
    }
    if name.len() > LENGTH_MAX {
        return invalid(format!(
            "a topic's name cannot be longer than {LENGTH_MAX} characters; this one has {}",
            name.len()
        ));
    }
    if matches!(name, "." | "..") {
        return invalid(format!("a topic's name cannot be `{name}`"));
    }
    if !name.chars().all(is_legal) {
        return invalid(format!(
            "a topic's name has only ASCII letters, digits, `.`, `_` and `-`; `{name}` has others"
        ));
    }
    if draft.image.topic(name).is_some() {
        return Err(refuse(
            Refusal::TopicExists,
            format!("topic `{name}` already exists"),
        ));
    }
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    match draft.image.topics().find(|topic| collide(&topic.name, name)) {
        Some(other) => invalid(format!(
            "topic `{name}` collides with topic `{}`: in the names of metrics `.` and `_` are the same",
            other.name
        )),
        None => Ok(()),
    }
}

fn collide(one: &str, other: &str) -> bool {
    let folded = |c: u8| if c == b'.' { b'_' } else { c };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}
