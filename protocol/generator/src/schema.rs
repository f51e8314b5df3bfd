//! Kafka's message definitions, as the JSON files of the kafka-clients jar give them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

impl Versions {
    /// `3-5`, `4`, `2+`, or `none`.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text == "none" {
            return Ok(None);
        }
        let number = |digits: &str| {
            digits
                .parse::<i16>()
                .with_context(|| format!("versions `{text}`"))
        };
        let (low, high) = if let Some(low) = text.strip_suffix('+') {
            (number(low)?, i16::MAX)
        } else if let Some((low, high)) = text.split_once('-') {
            (number(low)?, number(high)?)
        } else {
            (number(text)?, number(text)?)
        };
        Ok(Some(Self { low, high }))
    }

    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        };
        (both.low <= both.high).then_some(both)
    }

    pub fn contains(self, version: i16) -> bool {
        (self.low..=self.high).contains(&version)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            "uuid" => Self::Uuid,
            other => match other.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element))),
                None => Self::Struct(other.to_owned()),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    /// In snake case.
    pub name: String,
    pub kind: Type,
    /// The versions that carry it, all of them valid ones.
    pub versions: Versions,
    /// The part of `versions` in which it may be null.
    pub nullable: Option<Versions>,
    /// In all of `versions` or in none of them.
    pub tag: Option<u32>,
    pub default: Option<String>,
    /// Whether it is silently left out of a version that cannot carry it.
    pub ignorable: bool,
}

#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    /// The versions in which it can occur.
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Request,
    Response,
    Data,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub name: String,
    pub role: Role,
    pub api_key: Option<i16>,
    /// Whether clients may send it, that is, whether the listener "broker" takes it.
    pub client_facing: bool,
    pub versions: Versions,
    pub latest_unstable: bool,
    pub flexible_from: Option<i16>,
    /// The message itself first, then what it contains.
    pub structs: Vec<Struct>,
}

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    pub fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|s| s.name == name)
            .expect("checked by `read`")
    }

    /// The smallest number of bytes that a value of this type takes on the wire, in any of the versions given.
    pub fn size_min(&self, kind: &Type, versions: Versions) -> usize {
        (versions.low..=versions.high)
            .map(|version| self.size_min_at(kind, version))
            .min()
            .unwrap_or(0)
    }

    fn size_min_at(&self, kind: &Type, version: i16) -> usize {
        let flexible = self.is_flexible(version);
        match kind {
            Type::Bool | Type::Int8 => 1,
            Type::Int16 | Type::Uint16 => 2,
            Type::Int32 | Type::Uint32 => 4,
            Type::Int64 | Type::Float64 => 8,
            Type::Uuid => 16,
            Type::String if !flexible => 2,
            Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
            Type::Struct(name) => {
                let fields = self
                    .find(name)
                    .fields
                    .iter()
                    .filter(|f| f.versions.contains(version));
                let untagged = fields.filter(|f| f.tag.is_none());
                let sizes = untagged.map(|f| match &f.kind {
                    Type::Struct(_) if f.nullable.is_some_and(|n| n.contains(version)) => 1,
                    kind => self.size_min_at(kind, version),
                });
                sizes.sum::<usize>() + usize::from(flexible)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    #[serde(rename = "type")]
    role: String,
    name: String,
    api_key: Option<i16>,
    #[serde(default)]
    listeners: Vec<String>,
    valid_versions: String,
    flexible_versions: Option<String>,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
}

#[derive(Deserialize)]
struct RawStruct {
    name: String,
    #[serde(default)]
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u32>,
    default: Option<Value>,
    #[serde(default)]
    ignorable: Value,
    fields: Option<Vec<RawField>>,
}

/// Reads one definition. `None` for a message that has no valid version any more, and for headers, whose layout
/// `flotilla_protocol::frame` holds.
pub fn read(path: &Path) -> Result<Option<Message>> {
    let text = std::fs::read_to_string(path)?;
    let raw: RawMessage = serde_json::from_str(&without_comments(&text))?;
    let role = match raw.role.as_str() {
        "request" => Role::Request,
        "response" => Role::Response,
        "data" => Role::Data,
        "header" => return Ok(None),
        other => bail!("unknown type of message `{other}`"),
    };
    let Some(versions) = Versions::parse(&raw.valid_versions)? else {
        return Ok(None);
    };
    let flexible = Versions::parse(raw.flexible_versions.as_deref().unwrap_or("none"))?;
    let mut structs = Vec::new();
    flatten(&raw.name, &raw.fields, versions, &mut structs)?;
    for common in &raw.common_structs {
        flatten(&common.name, &common.fields, versions, &mut structs)?;
    }
    let message = Message {
        name: raw.name,
        role,
        api_key: raw.api_key,
        client_facing: raw.listeners.iter().any(|listener| listener == "broker"),
        versions,
        latest_unstable: raw.latest_version_unstable,
        flexible_from: flexible.map(|f| f.low),
        structs,
    };
    for field in message.structs.iter().flat_map(|s| &s.fields) {
        let element = if let Type::Array(element) = &field.kind {
            element
        } else {
            &field.kind
        };
        if let Type::Struct(name) = element
            && !message.structs.iter().any(|s| s.name == *name)
        {
            bail!("field `{}` has the unknown type `{name}`", field.name);
        }
    }
    Ok(Some(message))
}

fn flatten(name: &str, raw: &[RawField], versions: Versions, structs: &mut Vec<Struct>) -> Result<()> {
    if structs.iter().any(|s| s.name == name) {
        bail!("struct `{name}` is defined twice");
    }
    let place = structs.len();
    structs.push(Struct {
        name: name.to_owned(),
        versions,
        fields: Vec::new(),
    });
    let mut fields = Vec::new();
    for raw in raw {
        if let Some(field) =
            field(raw, versions).with_context(|| format!("field `{}` of `{name}`", raw.name))?
        {
            if let Some(inner) = &raw.fields {
                let struct_name = raw.kind.trim().trim_start_matches("[]");
                flatten(struct_name, inner, field.versions, structs)?;
            }
            fields.push(field);
        }
    }
    structs[place].fields = fields;
    Ok(())
}

/// `None` for a field that no valid version carries.
fn field(raw: &RawField, within: Versions) -> Result<Option<Field>> {
    let parse = |text: &Option<String>| Versions::parse(text.as_deref().unwrap_or("none"));
    let tagged = parse(&raw.tagged_versions)?.and_then(|v| v.intersect(within));
    let versions = if raw.versions.is_some() {
        parse(&raw.versions)?
    } else {
        tagged
    };
    let Some(versions) = versions.and_then(|v| v.intersect(within)) else {
        return Ok(None);
    };
    let kind = Type::parse(&raw.kind);
    let nullable = parse(&raw.nullable_versions)?.and_then(|v| v.intersect(versions));
    let tag = match (raw.tag, tagged) {
        (Some(tag), Some(tagged)) if tagged == versions => Some(tag),
        (_, None) => None,
        _ => bail!("a field with a tag in some of its versions only, or without a number, is not supported"),
    };
    if tag.is_some() && nullable.is_some() && matches!(kind, Type::Struct(_)) {
        bail!("a tagged struct that may be null is not supported");
    }
    Ok(Some(Field {
        name: snake_case(&raw.name),
        kind,
        versions,
        nullable,
        tag,
        default: raw.default.as_ref().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }),
        ignorable: matches!(&raw.ignorable, Value::Bool(true)) || raw.ignorable == "true",
    }))
}

/// Kafka's definitions are JSON with comments to the end of the line.
fn without_comments(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let bytes = line.as_bytes();
        let comment = (0..bytes.len()).find(|&i| {
            quoted ^= bytes[i] == b'"' && (i == 0 || bytes[i - 1] != b'\\');
            !quoted && bytes[i..].starts_with(b"//")
        });
        bare.push_str(&line[..comment.unwrap_or(line.len())]);
        bare.push('\n');
    }
    bare
}

/// `TopicId` and `topicId` to `topic_id`; a keyword of Rust gets an underscore behind it.
pub fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let follows_lower = i > 0 && !letters[i - 1].is_uppercase();
        let before_lower = i > 0 && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (follows_lower || before_lower) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    if matches!(
        snake.as_str(),
        "type" | "match" | "ref" | "in" | "as" | "use" | "where"
    ) {
        snake.push('_');
    }
    snake
}
