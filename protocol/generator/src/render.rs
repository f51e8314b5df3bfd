//! One message as a Rust file: straight-line code, a function to decode and a function to encode for each struct.

use std::fmt::Write as _;

use crate::schema::{Field, Message, Role, Struct, Type, Versions, snake_case};

pub const HEADER: &str =
    "// Written by protocol/generator. Do not edit: `just protocol-generate` overwrites it.\n\n";

/// The text of `messages/<message>.rs`, not yet formatted.
pub fn message(message: &Message) -> String {
    let mut body = String::new();
    let schema = format!(
        "const SCHEMA: Schema = Schema {{ name: {:?}, versions: ({}, {}), flexible_from: {} }};\n\n",
        message.name,
        message.versions.low,
        message.versions.high,
        message
            .flexible_from
            .map_or("i16::MAX".to_owned(), |from| from.to_string()),
    );
    for (place, item) in message.structs.iter().enumerate() {
        definition(&mut body, message, item);
        codec(&mut body, message, item, place == 0);
    }
    if let Some(api) = message
        .name
        .strip_suffix("Request")
        .filter(|_| message.role == Role::Request)
    {
        let _ = write!(
            body,
            "impl Request for {name} {{\n    const KEY: ApiKey = ApiKey::{api};\n    type Response = super::{api}Response;\n}}\n",
            name = message.name,
        );
    }
    let mut uses = String::from("use crate::wire::{DecodeError, EncodeError, Message, Reader");
    for (word, import) in [
        ("Records", "Records"),
        ("impl Request", "Request"),
        ("Str", "Str"),
        ("required(", "required"),
    ] {
        if mentions(&body, word) {
            let _ = write!(uses, ", {import}");
        }
    }
    uses.push_str(", Schema, Writer};\n");
    if mentions(&body, "Uuid") {
        uses.push_str("use crate::Uuid;\n");
    }
    if mentions(&body, "ApiKey") {
        uses.push_str("use super::ApiKey;\n");
    }
    if mentions(&body, "Bytes") {
        uses.push_str("use bytes::Bytes;\n");
    }
    format!("{HEADER}{uses}\n{schema}{body}")
}

/// Whether `word` stands in `text` as a word of its own.
fn mentions(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_part);
        let after = text[at + word.len()..].chars().next().is_some_and(is_part);
        !before && (!after || word.ends_with('('))
    })
}

fn definition(out: &mut String, message: &Message, item: &Struct) {
    let plain = item.fields.iter().all(|field| default(message, field).is_none());
    let derived = if plain {
        "Clone, Debug, Default, PartialEq"
    } else {
        "Clone, Debug, PartialEq"
    };
    let _ = writeln!(out, "#[derive({derived})]\npub struct {} {{", item.name);
    for field in &item.fields {
        let _ = writeln!(out, "    pub {}: {},", field.name, field_type(field));
    }
    out.push_str("}\n\n");
    if plain {
        return;
    }
    let _ = writeln!(
        out,
        "impl Default for {} {{\n    fn default() -> Self {{\n        Self {{",
        item.name
    );
    for field in &item.fields {
        let _ = writeln!(out, "{}: {},", field.name, default_or_empty(message, field));
    }
    out.push_str("        }\n    }\n}\n\n");
}

fn field_type(field: &Field) -> String {
    let base = base_type(&field.kind);
    if is_option(field) {
        format!("Option<{base}>")
    } else {
        base
    }
}

/// Records have no default but "none", also where they may not be null on the wire.
fn is_option(field: &Field) -> bool {
    field.nullable.is_some()
}

fn base_type(kind: &Type) -> String {
    match kind {
        Type::Bool => "bool".to_owned(),
        Type::Int8 => "i8".to_owned(),
        Type::Int16 => "i16".to_owned(),
        Type::Uint16 => "u16".to_owned(),
        Type::Int32 => "i32".to_owned(),
        Type::Uint32 => "u32".to_owned(),
        Type::Int64 => "i64".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::String => "Str".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", base_type(element)),
    }
}

/// The field's default as an expression, where it differs from that of its Rust type.
fn default(message: &Message, field: &Field) -> Option<String> {
    let given = field.default.as_deref().filter(|text| !text.is_empty());
    if is_option(field) {
        if given == Some("null") || field.kind == Type::Records {
            return None;
        }
        let inner = match (&field.kind, given) {
            (Type::String, Some(text)) => format!("Str::from({text:?})"),
            (Type::Struct(name), _) => format!("{name}::default()"),
            (kind, _) => empty(kind),
        };
        return Some(format!("Some({inner})"));
    }
    match &field.kind {
        Type::Bool => given.filter(|text| *text == "true").map(str::to_owned),
        Type::String => given.map(|text| format!("Str::from({text:?})")),
        Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
            let text = given?;
            let number = match text.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            let number = number.unwrap_or_else(|_| panic!("default `{text}` in {}", message.name));
            let base = base_type(&field.kind);
            match number {
                0 => None,
                _ if number == i64::from(i32::MAX) || number == i64::MAX => Some(format!("{base}::MAX")),
                _ if number == i64::from(i32::MIN) || number == i64::MIN => Some(format!("{base}::MIN")),
                _ => Some(number.to_string()),
            }
        }
        Type::Float64 => given.map(|text| format!("{text}_f64")),
        _ => None,
    }
}

fn empty(kind: &Type) -> String {
    match kind {
        Type::Bool => "false".to_owned(),
        Type::Float64 => "0.0".to_owned(),
        Type::String => "Str::default()".to_owned(),
        Type::Bytes => "Bytes::new()".to_owned(),
        Type::Records => "Records::default()".to_owned(),
        Type::Uuid => "Uuid::ZERO".to_owned(),
        Type::Struct(name) => format!("{name}::default()"),
        Type::Array(_) => "Vec::new()".to_owned(),
        _ => "0".to_owned(),
    }
}

fn default_or_empty(message: &Message, field: &Field) -> String {
    default(message, field).unwrap_or_else(|| {
        if is_option(field) {
            "None".to_owned()
        } else {
            empty(&field.kind)
        }
    })
}

/// The condition under which the field differs from its default.
fn is_set(message: &Message, field: &Field) -> String {
    let this = format!("self.{}", field.name);
    let other = default(message, field);
    if is_option(field) {
        return match (other, &field.kind) {
            (None, _) => format!("{this}.is_some()"),
            (Some(text), Type::Struct(_)) => format!("{this} != {text}"),
            (Some(text), Type::String) if text.contains('"') => format!("{this} != {text}"),
            (Some(_), _) => format!("!{this}.as_ref().is_some_and(|value| value.is_empty())"),
        };
    }
    match (&field.kind, other) {
        (Type::Bool, None) => this,
        (Type::Bool, Some(_)) => format!("!{this}"),
        (Type::Uuid, _) => format!("!{this}.is_zero()"),
        (Type::String | Type::Bytes | Type::Records | Type::Array(_), None) => format!("!{this}.is_empty()"),
        (kind, None) => format!("{this} != {}", empty(kind)),
        (_, Some(text)) => format!("{this} != {text}"),
    }
}

/// The test for `range` where the version is known to be in `within`; `None` where it always holds.
fn condition(range: Versions, within: Versions) -> Option<String> {
    match (range.low > within.low, range.high < within.high) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", range.low)),
        (false, true) => Some(format!("version <= {}", range.high)),
        (true, true) if range.low == range.high => Some(format!("version == {}", range.low)),
        (true, true) => Some(format!("({}..={}).contains(&version)", range.low, range.high)),
    }
}

fn codec(out: &mut String, message: &Message, item: &Struct, top: bool) {
    let size_min = message.size_min(&Type::Struct(item.name.clone()), item.versions);
    let _ = writeln!(out, "impl Message for {} {{", item.name);
    if size_min > 1 && !top {
        let _ = writeln!(out, "    const SIZE_MIN: usize = {size_min};\n");
    }
    decode(out, message, item, top);
    encode(out, message, item, top);
    out.push_str("}\n\n");
}

fn decode(out: &mut String, message: &Message, item: &Struct, top: bool) {
    out.push_str("    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {\n");
    if top {
        out.push_str("r.begin(&SCHEMA, version)?;\n");
    }
    let tagged: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
    let binding = if tagged.is_empty() { "let" } else { "let mut" };
    let _ = writeln!(out, "{binding} this = Self {{");
    for field in &item.fields {
        let fallback = default_or_empty(message, field);
        let place = field.tag.is_none().then_some(field.versions);
        let value = match place {
            None => fallback,
            Some(range) => match condition(range, item.versions) {
                None => read(field, range),
                Some(test) => format!("if {test} {{ {} }} else {{ {fallback} }}", read(field, range)),
            },
        };
        let _ = writeln!(out, "{}: {value},", field.name);
    }
    out.push_str("};\n");
    if tagged.is_empty() {
        out.push_str("r.skip_tags()?;\nOk(this)\n    }\n\n");
        return;
    }
    out.push_str("for _ in 0..r.tag_count()? {\nlet tag = r.tag()?;\nmatch tag.number {\n");
    for field in tagged {
        let (number, range) = (field.tag.expect("filtered above"), field.versions);
        let guard = condition(range, item.versions).map_or(String::new(), |test| format!(" if {test}"));
        let _ = writeln!(
            out,
            "{number}{guard} => this.{} = {},",
            field.name,
            read(field, range)
        );
    }
    out.push_str("_ => r.skip_tag(&tag),\n}\nr.end_tag(&tag)?;\n}\nOk(this)\n    }\n\n");
}

/// An expression that reads the field in the versions `within`, all of which carry it.
fn read(field: &Field, within: Versions) -> String {
    let plain = match &field.kind {
        Type::Struct(name) => format!("{name}::decode(r, version)?"),
        Type::Array(_) => "r.array(version)?".to_owned(),
        kind => format!("r.{}()?", method(kind)),
    };
    if !is_option(field) {
        return plain;
    }
    let nullable = match &field.kind {
        Type::Struct(_) => "r.nullable_struct(version)?".to_owned(),
        Type::Array(_) => "r.nullable_array(version)?".to_owned(),
        kind => format!("r.nullable_{}()?", method(kind)),
    };
    match field.nullable.and_then(|range| range.intersect(within)) {
        None => format!("Some({plain})"),
        Some(range) => match condition(range, within) {
            None => nullable,
            Some(test) => format!("if {test} {{ {nullable} }} else {{ Some({plain}) }}"),
        },
    }
}

/// The method of `Reader` and `Writer` for a type that is neither struct nor array.
fn method(kind: &Type) -> String {
    match kind {
        Type::String => "str".to_owned(),
        kind => snake_case(&base_type(kind)),
    }
}

fn encode(out: &mut String, message: &Message, item: &Struct, top: bool) {
    out.push_str("    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {\n");
    if top {
        out.push_str("w.begin(&SCHEMA, version)?;\n");
    }
    for field in &item.fields {
        let test = condition(field.versions, item.versions);
        let set = is_set(message, field);
        let refusal = format!("return Err(w.unsupported(\"{}.{}\"));", item.name, field.name);
        let refusal = (!field.ignorable).then_some(refusal);
        if field.tag.is_some() {
            if let (Some(test), Some(refusal)) = (test, refusal) {
                let _ = writeln!(out, "if {} && {set} {{ {refusal} }}", negated(&test));
            }
            continue;
        }
        let write = write(item, field, field.versions, "w");
        let _ = match (test, refusal) {
            (None, _) => writeln!(out, "{write}"),
            (Some(test), None) => writeln!(out, "if {test} {{ {write} }}"),
            (Some(test), Some(refusal)) => {
                writeln!(out, "if {test} {{ {write} }} else if {set} {{ {refusal} }}")
            }
        };
    }
    tags(out, message, item);
    out.push_str("Ok(())\n    }\n");
}

fn negated(test: &str) -> String {
    match test.strip_prefix("version >= ") {
        Some(low) => format!("version < {low}"),
        None => format!("!({test})"),
    }
}

fn tags(out: &mut String, message: &Message, item: &Struct) {
    let mut tagged: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    if tagged.is_empty() {
        out.push_str("w.no_tags();\n");
        return;
    }
    let mut count = Vec::new();
    for field in &tagged {
        let set = is_set(message, field);
        let test = condition(field.versions, item.versions);
        let test = test.map_or(set.clone(), |test| format!("{test} && {set}"));
        let _ = writeln!(out, "let has_{} = {test};", field.name.trim_end_matches('_'));
        count.push(format!("u32::from(has_{})", field.name.trim_end_matches('_')));
    }
    let _ = writeln!(out, "w.tag_count({});", count.join(" + "));
    for field in tagged {
        let (number, range) = (field.tag.expect("filtered above"), field.versions);
        let write = write(item, field, range, "tag");
        let _ = writeln!(
            out,
            "if has_{} {{ let mut tag = w.tag(); {write} w.put_tag({number}, tag)?; }}",
            field.name.trim_end_matches('_'),
        );
    }
}

/// A statement that writes the field to the writer `w`, in the versions `within`, all of which carry it.
fn write(item: &Struct, field: &Field, within: Versions, w: &str) -> String {
    let this = format!("self.{}", field.name);
    let plain = |value: &str| match &field.kind {
        Type::Struct(_) if w == "w" => format!("{this}.encode(w, version)?;"),
        Type::Struct(_) => format!("{this}.encode(&mut {w}, version)?;"),
        Type::Array(_) => format!("{w}.array({value}, version)?;"),
        Type::String | Type::Bytes | Type::Records => format!("{w}.{}({value})?;", method(&field.kind)),
        kind => format!("{w}.{}({this});", method(kind)),
    };
    if !is_option(field) {
        return plain(&format!("&{this}"));
    }
    let nullable = match &field.kind {
        Type::Struct(_) => format!("{w}.nullable_struct({this}.as_ref(), version)?;"),
        Type::Array(_) => format!("{w}.nullable_array({this}.as_deref(), version)?;"),
        kind => format!("{w}.nullable_{}({this}.as_ref())?;", method(kind)),
    };
    let required = format!("required(&{this}, \"{}.{}\", version)?", item.name, field.name);
    match field.nullable.and_then(|range| range.intersect(within)) {
        None => plain(&required),
        Some(range) => match condition(range, within) {
            None => nullable,
            Some(test) => format!("if {test} {{ {nullable} }} else {{ {} }}", plain(&required)),
        },
    }
}
