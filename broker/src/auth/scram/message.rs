//! The attributes that SCRAM's messages are made of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest message that is looked at, in bytes. Real ones have a few hundred.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Why an exchange ended without success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message that is not what RFC 5802 says.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The client insists on binding to the TLS channel.
    #[error("channel binding is not supported")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("authorization id differs from the user name")]
    AuthorizationId,
    /// A wrong password, or a user that does not exist: which of them is not told.
    #[error("invalid credentials")]
    Refused,
}

/// A message as text, if it is one of bounded length.
pub(super) fn text(message: &[u8]) -> Result<&str, Error> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Error::Malformed("longer than 4096 bytes"));
    }
    std::str::from_utf8(message).map_err(|_| Error::Malformed("not UTF-8"))
}

/// The value of the attribute `name` if the next of `attributes` is that one.
pub(super) fn take<'a>(
    attributes: &mut impl Iterator<Item = &'a str>,
    name: char,
    missing: &'static str,
) -> Result<&'a str, Error> {
    attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix('='))
        .filter(|value| !value.is_empty())
        .ok_or(Error::Malformed(missing))
}

/// A name as SCRAM writes it: `=` and `,` are escaped.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// A name as it is. A lone `=` is malformed.
pub(super) fn unescape(name: &str) -> Result<String, Error> {
    let mut pieces = name.split('=');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Error::Malformed("user name with a lone `=`")),
        };
        plain.push(character);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// A nonce: printable ASCII without a comma.
pub(super) fn nonce(value: &str) -> Result<&str, Error> {
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    printable
        .then_some(value)
        .ok_or(Error::Malformed("nonce is not printable"))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(value: &str, what: &'static str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(value).map_err(|_| Error::Malformed(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_escaping() {
        for name in ["alice", "a=b,c", "==,,", "ünï", "=2C"] {
            assert_eq!(unescape(&escape(name)), Ok(name.to_owned()));
        }
        for broken in ["a=b", "=", "=2", "=2c"] {
            assert!(unescape(broken).is_err(), "{broken}");
        }
    }
}
