//! How the text of a setting becomes a typed value.

use super::Password;

/// A type that settings are read into. `None`: the text is not of this type; the table has been asked before, so that
/// happens only for values that were never checked.
pub(super) trait Value: Sized {
    fn read(text: &str) -> Option<Self>;

    /// What holds where nothing is set, if that is something else than the table's default.
    fn unset() -> Option<Self> {
        None
    }
}

/// What somebody has set. Where nobody has, Kafka's default is shown and not what holds: the system decides, or the rest of the
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IfSet<T>(pub Option<T>);

impl<T: Value> Value for IfSet<T> {
    fn read(text: &str) -> Option<Self> {
        T::read(text).map(|value| Self(Some(value)))
    }

    fn unset() -> Option<Self> {
        Some(Self(None))
    }
}

impl Value for bool {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }
}

macro_rules! number {
    ($($kind:ty)*) => {$(
        impl Value for $kind {
            fn read(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}
number!(i16 i32 i64 f64);

impl Value for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.trim().to_owned())
    }
}

impl Value for Password {
    fn read(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

impl Value for Vec<String> {
    fn read(text: &str) -> Option<Self> {
        Some(items(text).map(str::to_owned).collect())
    }
}

/// The members of a list setting. An empty text is an empty list.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let empty = text.trim().is_empty();
    text.split(',').map(str::trim).filter(move |_| !empty)
}
