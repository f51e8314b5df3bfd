//! The topics inside a consumer's subscription: the one thing that a coordinator reads of what members tell each other.

use std::collections::BTreeSet;

use super::Text;
use super::record::{Malformed, Reader};

/// The topics that one member of protocol type `consumer` subscribes to. All versions begin with a version and an
/// array of names, so that is all that is read.
///
/// # Errors
/// [`Malformed`] when the bytes are not a subscription: other clients may put there what they like.
pub(super) fn topics(bytes: &[u8]) -> Result<BTreeSet<Text>, Malformed> {
    let mut input = Reader(bytes);
    if input.i16()? < 0 {
        return Err(Malformed::Null);
    }
    let count = input.i32()?;
    (0..count).map(|_| input.string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_what_follows_is_left() {
        let bytes = [0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(topics(&bytes), Ok([Text::from("a"), Text::from("b")].into()));
    }

    #[test]
    fn a_count_larger_than_the_bytes_is_refused() {
        assert_eq!(topics(&[0, 0, 0x7F, 0xFF, 0xFF, 0xFF]), Err(Malformed::Truncated));
        assert_eq!(topics(&[]), Err(Malformed::Truncated));
    }
}
