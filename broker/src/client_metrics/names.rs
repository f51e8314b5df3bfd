//! How the names of clients' metrics and attributes become names that Prometheus takes.

use std::borrow::Cow;

use super::otlp::Kind;

/// The longest name and the longest value of a label that are shown, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// What ends the name of a total, and no other one.
const TOTAL: &str = "_total";

/// How a metric is called on the page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// Without the `_total` of a total, which the page adds.
    pub family: Box<str>,
    /// Whether it is a total that only grows.
    pub is_total: bool,
}

impl Shown {
    /// The name in letters, digits and underscores; none where there is none or it is too long. A gauge whose name is one of a total ends with
    /// `_gauge`, so that no two metrics have the same name on the page.
    pub(super) fn of(name: &str, kind: Kind) -> Option<Self> {
        if name.is_empty() || name.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut family = plain(name);
        let is_total = matches!(kind, Kind::Total | Kind::Growth);
        match family.strip_suffix(TOTAL) {
            Some(rest) if is_total && !rest.is_empty() => {
                let length = rest.len();
                family.truncate(length);
            }
            Some(_) if !is_total => family.push_str("_gauge"),
            _ => {}
        }
        Some(Self {
            family: family.into(),
            is_total,
        })
    }
}

/// An attribute's key as the name of a label. None where nothing is left of it. Prometheus keeps names that begin with underscores to itself.
pub(super) fn label(key: &str) -> Option<Box<str>> {
    let name = plain(cut(key));
    let name = name.trim_start_matches('_');
    match name.bytes().next()? {
        b'0'..=b'9' => Some(format!("attribute_{name}").into()),
        _ => Some(name.into()),
    }
}

fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

/// As much of a text as is shown.
#[must_use]
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// A value of an attribute as it is shown.
pub(super) fn value(value: Cow<'_, str>) -> Box<str> {
    cut(&value).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_that_prometheus_takes_them() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (name, kind, shown) in [
            (
                "org.apache.kafka.producer.record.send.total",
                Kind::Growth,
                Some("org_apache_kafka_producer_record_send"),
            ),
            ("a-b c.é", Kind::Total, Some("a_b_c__")),
            ("a.rate", Kind::Gauge, Some("a_rate")),
            ("a.total", Kind::Gauge, Some("a_total_gauge")),
            ("a.total", Kind::Change, Some("a_total_gauge")),
            ("_total", Kind::Total, Some("_total")),
            ("", Kind::Gauge, None),
            (&long, Kind::Gauge, None),
        ] {
            let family = Shown::of(name, kind).map(|shown| shown.family);
            assert_eq!(family.as_deref(), shown, "{name}");
        }
    }

    #[test]
    fn labels_never_are_ones_that_prometheus_keeps_to_itself() {
        for (key, name) in [
            ("node.id", Some("node_id")),
            ("__name__", Some("name__")),
            ("0", Some("attribute_0")),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(label(key).as_deref(), name, "{key}");
        }
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(value(Cow::Borrowed(&long)).len(), TEXT_BYTES_MAX);
        assert_eq!(value(Cow::Owned(format!("x{long}"))).len(), TEXT_BYTES_MAX - 1);
    }
}
