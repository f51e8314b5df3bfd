//! What a broker answered, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};

use flotilla_protocol::ErrorCode;

/// A message as a tree. It is read from its debug form, which all generated messages have, so that no message needs code of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Struct(Vec<(String, Value)>),
    List(Vec<Value>),
    /// A number, a text in quotes, bytes, an id; `None` where a field is null.
    Leaf(String),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer(Value),
    /// The broker closed the connection and said nothing.
    Closed,
}

impl Outcome {
    /// In a few words: its errors, if there are any.
    pub fn word(&self) -> String {
        let Self::Answer(value) = self else {
            return "connection closed".to_owned();
        };
        let errors = value.errors();
        let names: Vec<_> = errors.iter().map(|error| error.name()).collect();
        if names.is_empty() {
            "no error".to_owned()
        } else {
            names.join(", ")
        }
    }
}

impl Value {
    pub fn of(message: &impl Debug) -> Self {
        let text = format!("{message:?}");
        let mut parser = Parser { rest: &text };
        let value = parser.value();
        assert!(parser.rest.is_empty(), "{:?} is left of {text}", parser.rest);
        value
    }

    /// The errors in an answer, at any depth, without those that are none.
    pub fn errors(&self) -> Vec<ErrorCode> {
        let mut codes = BTreeSet::new();
        self.collect_errors(&mut codes);
        codes.remove(&ErrorCode::None);
        codes.into_iter().collect()
    }

    fn collect_errors(&self, codes: &mut BTreeSet<ErrorCode>) {
        match self {
            Self::Struct(fields) => {
                for (field, value) in fields {
                    match value {
                        Self::Leaf(code) if is_error(field) => {
                            codes.extend(code.parse::<i16>().map(ErrorCode::from));
                        }
                        value => value.collect_errors(codes),
                    }
                }
            }
            Self::List(elements) => elements.iter().for_each(|element| element.collect_errors(codes)),
            Self::Leaf(_) => {}
        }
    }
}

/// Whether a field says how what was asked for ended. CreateTopics has one more, for what is only told along.
fn is_error(field: &str) -> bool {
    field.ends_with("error_code") && field != "topic_config_error_code"
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Struct(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
            Self::List(elements) => {
                let elements: Vec<_> = elements.iter().map(Value::to_string).collect();
                write!(f, "[{}]", elements.join(", "))
            }
            Self::Leaf(text) => f.write_str(text),
        }
    }
}

/// A field in which two answers differ: its path without indexes, what Kafka says in it, and what we say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub field: String,
    pub kafka: String,
    pub ours: String,
}

/// All that differs between two outcomes; fields that do are told once.
pub fn compare(kafka: &Outcome, ours: &Outcome) -> Vec<Difference> {
    let mut found = BTreeMap::new();
    match (kafka, ours) {
        (Outcome::Answer(kafka), Outcome::Answer(ours)) => walk("", kafka, ours, &mut found),
        (Outcome::Closed, Outcome::Closed) => {}
        (kafka, ours) => {
            found.insert("(outcome)".to_owned(), (kafka.word(), ours.word()));
        }
    }
    found
        .into_iter()
        .map(|(field, (kafka, ours))| Difference { field, kafka, ours })
        .collect()
}

fn walk(path: &str, kafka: &Value, ours: &Value, found: &mut BTreeMap<String, (String, String)>) {
    match (kafka, ours) {
        (Value::Struct(kafka), Value::Struct(ours)) => {
            for ((name, kafka), (_, ours)) in kafka.iter().zip(ours) {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(&path, kafka, ours, found);
            }
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            a.iter()
                .zip(b)
                .for_each(|(kafka, ours)| walk(path, kafka, ours, found));
        }
        (Value::List(a), Value::List(b)) if a.iter().chain(b).all(|element| key(element).is_some()) => {
            let said = (only(a, b), only(b, a));
            found.entry(path.to_owned()).or_insert(said);
            for kafka in a {
                if let Some(ours) = b.iter().find(|ours| key(ours) == key(kafka)) {
                    walk(path, kafka, ours, found);
                }
            }
        }
        (kafka, ours) if kafka == ours => {}
        (kafka, ours) => {
            let said = (told(path, kafka), told(path, ours));
            found.entry(path.to_owned()).or_insert(said);
        }
    }
}

/// The elements that only one of two lists has, by their keys; how many it has, where those are in both.
fn only(these: &[Value], those: &[Value]) -> String {
    let mut keys: Vec<_> = these.iter().filter_map(key).collect();
    keys.retain(|of| !those.iter().any(|one| key(one) == Some(of)));
    match keys.is_empty() {
        true => format!("{} of them", these.len()),
        false => format!("also {}", keys.join(", ")),
    }
}

/// What an element of a list is known by: its first field.
fn key(element: &Value) -> Option<&str> {
    match element {
        Value::Struct(fields) => match fields.first() {
            Some((_, Value::Leaf(key))) => Some(key),
            _ => None,
        },
        _ => None,
    }
}

fn told(path: &str, value: &Value) -> String {
    match value {
        Value::Leaf(code) if path.ends_with("error_code") => match code.parse::<i16>() {
            Ok(code) => ErrorCode::from(code).name().to_owned(),
            Err(_) => code.clone(),
        },
        value => value.to_string(),
    }
}

/// Reads what `{:?}` of derived implementations writes. Newtypes and `Some` stand for what is in them.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Value {
        if self.take("[") {
            return Value::List(self.elements("]"));
        }
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return Value::Leaf(self.quoted().to_owned());
        }
        let word = self.word();
        if self.take(" { ") {
            let mut fields = Vec::new();
            while !self.take(" }") {
                self.take(", ");
                let name = self.word().to_owned();
                self.must(": ");
                fields.push((name, self.value()));
            }
            return Value::Struct(fields);
        }
        if self.take("(") {
            let mut inner = self.elements(")");
            return if inner.len() == 1 {
                inner.remove(0)
            } else {
                Value::List(inner)
            };
        }
        Value::Leaf(word.to_owned())
    }

    fn elements(&mut self, end: &str) -> Vec<Value> {
        let mut elements = Vec::new();
        while !self.take(end) {
            self.take(", ");
            elements.push(self.value());
        }
        elements
    }

    fn quoted(&mut self) -> &'a str {
        let begin = self.rest.find('"').expect("it begins with a quote") + 1;
        let mut escaped = false;
        for (at, byte) in self.rest.bytes().enumerate().skip(begin) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return self.split(at + 1),
                _ => {}
            }
        }
        panic!("a text without an end: {}", self.rest)
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', ',', '(', ')', '[', ']', '{', '}', ':']);
        self.split(end.unwrap_or(self.rest.len()))
    }

    fn split(&mut self, at: usize) -> &'a str {
        let (word, rest) = self.rest.split_at(at);
        self.rest = rest;
        word
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn must(&mut self, token: &str) {
        assert!(self.take(token), "no {token:?} before {}", self.rest);
    }
}
