//! Regular expressions that clients send, held against whole names: topics to subscribe to (KIP-848), transactional ids to
//! list (KIP-1152). The engine takes time in proportion to the name, whatever the expression, and knows the syntax of RE2,
//! which Kafka's brokers use.

use std::borrow::Cow;

use regex_automata::meta::{BuildError, Config, Regex};

/// Most bytes that one compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 32_000;

/// Letters that mean something else than themselves.
const META: &str = r"\.+*?()|[]{}^$#&-~";

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than one may have.
    #[error("it is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// More memory than one may take.
    #[error("it takes more than {COMPILED_BYTES_MAX} bytes compiled")]
    TooLarge,
    /// The syntax is wrong, or asks for what takes more than linear time.
    #[error("{0}")]
    Malformed(String),
}

/// A regular expression, ready to be held against names.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(expression: &str) -> Result<Self, Error> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let expression = unquoted(expression);
        // Looked at alone first: one like `a)|(b` is balanced only inside the group that is put around it.
        build(&expression)?;
        build(&format!("^(?:{expression})$")).map(Self)
    }

    /// Whether the whole name is as the expression says.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn build(expression: &str) -> Result<Regex, Error> {
    Regex::builder()
        .configure(Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX)))
        .build(expression)
        .map_err(|error| explained(&error))
}

fn explained(error: &BuildError) -> Error {
    if error.size_limit().is_some() {
        return Error::TooLarge;
    }
    let shown = match error.syntax_error() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    // The last line says what is wrong, those above show where.
    let last = shown.lines().last().unwrap_or("it is malformed");
    Error::Malformed(last.trim_start_matches("error: ").to_owned())
}

/// RE2 takes what stands between `\Q` and `\E`, or the end, as it is written.
fn unquoted(expression: &str) -> Cow<'_, str> {
    if !expression.contains(r"\Q") {
        return Cow::Borrowed(expression);
    }
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(quoted) = escape.strip_prefix(r"\Q") {
            let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            for letter in literal.chars() {
                if META.contains(letter) {
                    out.push('\\');
                }
                out.push(letter);
            }
            rest = after;
        } else {
            // Both of it go over, so that the second of two backslashes begins nothing.
            let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
            out.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'a>(expression: &str, names: &[&'a str]) -> Vec<&'a str> {
        let pattern = Pattern::compile(expression).expect("well formed");
        names
            .iter()
            .copied()
            .filter(|name| pattern.matches(name))
            .collect()
    }

    #[test]
    fn expressions_match_whole_names() {
        assert_eq!(matched("a|ab", &["a", "ab", "abc", "xa", ""]), ["a", "ab"]);
        let ids = ["orders-17", "payments", "orders-", "my-orders-17", "payments-2"];
        assert_eq!(matched("orders-[0-9]+|payments", &ids), ["orders-17", "payments"]);
        assert_eq!(matched(r"\pL.\d", &["é-7", "7-7"]), ["é-7"], "letters, not bytes");
    }

    #[test]
    fn what_is_quoted_is_taken_as_it_is_written() {
        let names = ["a.b-1", "axb-1", "a.b-x"];
        assert_eq!(matched(r"\Qa.b\E-\d", &names), ["a.b-1"]);
        assert_eq!(matched(r"a.b-\Q1", &names), ["a.b-1", "axb-1"]);
        assert_eq!(matched(r"\\Qx*", &[r"\Qxx", "x*"]), [r"\Qxx"]);
        assert_eq!(matched(r"\Q<é>_\E", &["<é>_"]), ["<é>_"]);
    }

    #[test]
    fn malformed_and_enormous_expressions_are_refused() {
        let malformed = |why: &str| Err(Error::Malformed(why.to_owned()));
        for (expression, refused) in [
            ("[", malformed("unclosed character class")),
            ("(", malformed("unclosed group")),
            ("a)|(b", malformed("unopened group")),
            ("x{1000}{1000}", Err(Error::TooLarge)),
        ] {
            assert_eq!(Pattern::compile(expression).map(|_| ()), refused, "{expression}");
        }
        for unbounded in ["(?=a)", r"(a)\1"] {
            assert!(
                matches!(Pattern::compile(unbounded), Err(Error::Malformed(_))),
                "{unbounded}"
            );
        }
        let long = "a".repeat(EXPRESSION_BYTES_MAX + 1);
        assert_eq!(Pattern::compile(&long).map(|_| ()), Err(Error::TooLong));
    }
}
