//! What the directories of partitions are called, and how one knows what another is for: no topic can have a name with a dot and
//! 32 hexadecimal digits in it that ends in no number.

use flotilla_protocol::{PartitionIndex, Uuid};

const DELETED_SUFFIX: &str = "-delete";
const COPY_SUFFIX: &str = "-future";
/// What file systems allow for a name.
const NAME_BYTES_MAX: usize = 255;

/// Topic and partition from the name of a directory.
pub(super) fn parse_partition(name: &str) -> Option<(String, PartitionIndex)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits =
        !topic.is_empty() && !partition.is_empty() && partition.bytes().all(|digit| digit.is_ascii_digit());
    let partition = digits.then(|| partition.parse().ok()).flatten()?;
    Some((topic.to_owned(), PartitionIndex(partition)))
}

/// What the directory of a partition is called once it is deleted.
pub(crate) fn deleted_name(name: &str, unique: Uuid) -> String {
    let suffix = suffix(unique, DELETED_SUFFIX);
    let kept: String = name.chars().take(NAME_BYTES_MAX - suffix.len()).collect();
    format!("{kept}{suffix}")
}

pub(super) fn is_deleted_name(name: &str) -> bool {
    marked(name, DELETED_SUFFIX).is_some()
}

/// What the copy of a partition is called while it grows (KIP-113). `None`: the topic's name is too long for that.
#[must_use]
pub fn copy_name(topic: &str, partition: PartitionIndex, unique: Uuid) -> Option<String> {
    let name = format!("{topic}-{partition}{}", suffix(unique, COPY_SUFFIX));
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// The topic and partition that a directory is a copy of.
pub(super) fn parse_copy(name: &str) -> Option<(String, PartitionIndex)> {
    parse_partition(marked(name, COPY_SUFFIX)?)
}

fn suffix(unique: Uuid, what: &str) -> String {
    let unique: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(".{unique}{what}")
}

/// What stands before a suffix of that kind.
fn marked<'a>(name: &'a str, what: &str) -> Option<&'a str> {
    let (name, unique) = name.strip_suffix(what)?.rsplit_once('.')?;
    let is_unique = unique.len() == 32 && unique.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_unique.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_by_their_names_and_taken_for_nothing_else() {
        let name = copy_name("orders-1", PartitionIndex(7), Uuid([0xab; 16])).unwrap();
        assert_eq!(name, format!("orders-1-7.{}-future", "ab".repeat(16)));
        let parsed = Some(("orders-1".to_owned(), PartitionIndex(7)));
        assert_eq!(parse_copy(&name), parsed);
        assert_eq!((parse_partition(&name), is_deleted_name(&name)), (None, false));
        let deleted = deleted_name(&name, Uuid([1; 16]));
        assert_eq!((parse_copy(&deleted), is_deleted_name(&deleted)), (None, true));
        assert_eq!(parse_copy("orders-1-7"), None);
        assert_eq!(parse_copy("orders-7.ab-future"), None);
        let longest = "o".repeat(NAME_BYTES_MAX - 2 - 33 - COPY_SUFFIX.len());
        assert!(copy_name(&longest, PartitionIndex(1), Uuid([1; 16])).is_some());
        assert_eq!(copy_name(&longest, PartitionIndex(10), Uuid([1; 16])), None);
    }
}
