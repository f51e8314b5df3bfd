//! The list of all messages: the door of the room `messages`, and the enum of API keys.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::render::HEADER;
use crate::schema::{Message, Role, snake_case};

/// The text of `messages/mod.rs`.
pub fn door(messages: &[Message]) -> String {
    let mut out = String::from(HEADER);
    out.push_str(
        "//! Kafka's messages as the kafka-clients jar of Apache Kafka 4.3.1 defines them: one module a message, with the\n\
         //! structs that it contains. Names are Kafka's, in Rust's case; a field's default is the schema's.\n\n\
         #![allow(missing_docs, unused_variables)]\n\n",
    );
    out.push_str("mod api_key;\n");
    for message in messages {
        let _ = writeln!(out, "pub mod {};", snake_case(&message.name));
    }
    out.push_str("\npub use api_key::{ApiKey, UnknownApiKey};\n");
    for message in messages {
        let _ = writeln!(out, "pub use {}::{};", snake_case(&message.name), message.name);
    }
    out.push_str(
        "\n/// Calls the macro `$then` with all APIs, each as `Api ApiRequest ApiResponse,`.\n\
         #[macro_export]\nmacro_rules! for_each_api {\n    ($then:ident) => {\n        $then! {\n",
    );
    for api in apis(messages) {
        let _ = writeln!(out, "            {api} {api}Request {api}Response,");
    }
    out.push_str("        }\n    };\n}\n");
    out
}

fn apis(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages
        .iter()
        .filter_map(|m| m.name.strip_suffix("Request").filter(|_| m.role == Role::Request))
}

/// The text of `messages/api_key.rs`.
pub fn api_key(messages: &[Message]) -> Result<String> {
    let mut requests: Vec<&Message> = messages.iter().filter(|m| m.role == Role::Request).collect();
    requests.sort_by_key(|m| m.api_key);
    let (mut variants, mut from, mut facts) = (String::new(), String::new(), String::new());
    for request in requests {
        let api = request
            .name
            .strip_suffix("Request")
            .context("a request without a request's name")?;
        let key = request.api_key.context("a request without a key")?;
        let response = messages.iter().find(|m| m.name == format!("{api}Response"));
        let response = response.context("a request without a response")?;
        ensure!(
            response.flexible_from == request.flexible_from && response.versions == request.versions,
            "request and response of {api} differ in their versions"
        );
        let high = request.versions.high - i16::from(request.latest_unstable);
        let flexible = request
            .flexible_from
            .map_or("NEVER".to_owned(), |from| from.to_string());
        let _ = writeln!(variants, "    {api} = {key},");
        let _ = writeln!(from, "            {key} => Self::{api},");
        let _ = writeln!(
            facts,
            "            Self::{api} => ({api:?}, {}, {high}, {flexible}),",
            request.versions.low
        );
    }
    Ok(format!(
        r#"{HEADER}use std::fmt;
use std::ops::RangeInclusive;

const NEVER: i16 = i16::MAX;

/// The number by which a request says what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {{
{variants}}}

/// A key that stands for no request that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{{0}} is not the key of an API")]
pub struct UnknownApiKey(pub i16);

impl TryFrom<i16> for ApiKey {{
    type Error = UnknownApiKey;

    fn try_from(key: i16) -> Result<Self, UnknownApiKey> {{
        Ok(match key {{
{from}            _ => return Err(UnknownApiKey(key)),
        }})
    }}
}}

impl From<ApiKey> for i16 {{
    fn from(key: ApiKey) -> Self {{
        key as Self
    }}
}}

impl fmt::Display for ApiKey {{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{
        f.write_str(self.name())
    }}
}}

impl ApiKey {{
    /// Name, oldest and newest version, first flexible version.
    const fn facts(self) -> (&'static str, i16, i16, i16) {{
        match self {{
{facts}        }}
    }}

    /// As Kafka names it: `Produce`, `ListOffsets`.
    #[must_use]
    pub const fn name(self) -> &'static str {{
        self.facts().0
    }}

    /// The versions that have a schema; one that is not stable yet is left out. What a broker announces may differ.
    #[must_use]
    pub const fn valid_versions(self) -> RangeInclusive<i16> {{
        let (_, low, high, _) = self.facts();
        low..=high
    }}

    /// The first version with compact lengths and tagged fields (KIP-482).
    #[must_use]
    pub const fn flexible_from(self) -> Option<i16> {{
        let (_, _, _, flexible) = self.facts();
        if flexible == NEVER {{ None }} else {{ Some(flexible) }}
    }}

    /// The version of the header before a request of version `version`: 1, or 2 with tagged fields.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {{
        if version >= self.facts().3 {{ 2 }} else {{ 1 }}
    }}

    /// The version of the header before a response of version `version`: 0, or 1 with tagged fields. That of ApiVersions is
    /// always 0, so that a client can read it before it knows what the broker supports (KIP-511).
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {{
        if matches!(self, Self::ApiVersions) {{
            return 0;
        }}
        if version >= self.facts().3 {{ 1 }} else {{ 0 }}
    }}
}}
"#
    ))
}
