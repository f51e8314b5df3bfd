//! The line of a manifest that a field stands on, so that a problem found long after reading names it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

/// The line, from 1, of the field at `path`, or of the innermost part of the path that there is. `text` is one YAML
/// document, `path` such as `spec.config.retention.ms`, `spec.listeners[plain].port` or `spec.authorization.acls[0]`: what
/// stands in brackets is a place in a list or the name of one of its members.
pub fn line_of(text: &str, path: &str) -> Option<u64> {
    let mut line = None;
    // The document has been read before; should it not be readable here, the line found so far is the best there is.
    let _ = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        Field {
            path,
            line: &mut line,
        }
        .deserialize(deserializer)
    });
    line
}

/// Follows a path into a document.
struct Field<'a> {
    path: &'a str,
    line: &'a mut Option<u64>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            match after(self.path, &key.value) {
                Some(rest) => {
                    *self.line = Some(key.referenced.line());
                    let field = Field {
                        path: rest,
                        line: &mut *self.line,
                    };
                    map.next_value_seed(field)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((member, rest)) = self.path.strip_prefix('[').and_then(|path| path.split_once(']')) else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut place = 0;
        // A list's members are known by their names: they are read once, and followed no further than their first line.
        while let Some(item) = items.next_element::<Spanned<Named>>()? {
            let here = item.value.name.as_deref() == Some(member) || member.parse() == Ok(place);
            if here {
                *self.line = Some(item.referenced.line());
                if let Some((_, line)) = item
                    .value
                    .lines
                    .iter()
                    .find(|(key, _)| after(rest, key).is_some())
                {
                    *self.line = Some(*line);
                }
            }
            place += 1;
        }
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A member of a list: its name, and the lines of its fields.
#[derive(Default)]
struct Named {
    name: Option<String>,
    lines: Vec<(String, u64)>,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Member;
        impl<'de> Visitor<'de> for Member {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member of a list")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut member = Named::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    if key.value == "name" {
                        member.name = map.next_value::<Option<String>>()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                    member.lines.push((key.value, key.referenced.line()));
                }
                Ok(member)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Named, E> {
                Ok(Named {
                    name: Some(name.to_owned()),
                    lines: Vec::new(),
                })
            }
        }
        deserializer.deserialize_any(Member)
    }
}

/// What is left of the path behind `key`, if it goes on with that key. Keys may hold dots themselves.
fn after<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() || rest.starts_with('[') {
        return Some(rest);
    }
    rest.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
kind: Cluster
metadata: {name: a}
spec:
  replicas: 3
  listeners:
    - name: plain
      port: 9092
    - {name: users, port: 9192}
  config:
    retention.ms: 5
    retention.bytes: 7
  superUsers: [admin]
";

    #[test]
    fn fields_are_found_by_their_path() {
        for (path, line) in [
            ("kind", 2),
            ("metadata.name", 3),
            ("spec", 4),
            ("spec.replicas", 5),
            ("spec.config.retention.bytes", 12),
            ("spec.listeners[plain]", 7),
            ("spec.listeners[plain].port", 8),
            ("spec.listeners[users].port", 9),
            ("spec.listeners[1]", 9),
            ("spec.config.unknown", 10),
            ("spec.listeners[nobody]", 6),
            ("spec.superUsers[0]", 13),
        ] {
            assert_eq!(line_of(TEXT, path), Some(line), "{path}");
        }
        assert_eq!(line_of(TEXT, "status"), None);
        assert_eq!(line_of("", "spec"), None);
    }
}
