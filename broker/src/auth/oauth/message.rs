//! The messages of the exchange (RFC 7628).

/// What separates the parts of a message.
const SEPARATOR: char = '\u{1}';

/// Why a message is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed OAUTHBEARER message: {0}")]
pub struct MessageError(&'static str);

/// What the client says first.
#[derive(PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The JSON Web Token.
    pub token: &'a str,
    /// As whom the client wants to act; empty: as whom the token names.
    pub authorization_id: String,
}

impl std::fmt::Debug for ClientFirst<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientFirst(as `{}`, token not shown)", self.authorization_id)
    }
}

impl<'a> ClientFirst<'a> {
    /// Reads it: `n,a=ID,^Aauth=Bearer TOKEN^A^A`, with other pairs of name and value about, which mean nothing here.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MessageError("not UTF-8"))?;
        let (header, pairs) = text
            .split_once(SEPARATOR)
            .ok_or(MessageError("no key-value pairs"))?;
        let authorization_id = authorization_id(header)?;
        let pairs = pairs
            .strip_suffix(SEPARATOR)
            .ok_or(MessageError("it does not end as it has to"))?;
        let mut token = None;
        for pair in pairs.split_terminator(SEPARATOR) {
            let (name, value) = pair.split_once('=').ok_or(MessageError("a pair without `=`"))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(MessageError("a name that is not of letters"));
            }
            if name == "auth" {
                token = Some(bearer(value)?);
            }
        }
        Ok(Self {
            token: token.ok_or(MessageError("no `auth`"))?,
            authorization_id,
        })
    }
}

/// The authorization id in a GS2 header without channel binding.
fn authorization_id(header: &str) -> Result<String, MessageError> {
    let parts: Vec<&str> = header.split(',').collect();
    let ["n", id, ""] = parts[..] else {
        return Err(MessageError("no GS2 header of a client without channel binding"));
    };
    if id.is_empty() {
        return Ok(String::new());
    }
    let id = id
        .strip_prefix("a=")
        .ok_or(MessageError("unknown attribute in the GS2 header"))?;
    Ok(id.replace("=2C", ",").replace("=3D", "="))
}

/// The token behind its scheme, which is written in any case.
fn bearer(value: &str) -> Result<&str, MessageError> {
    let (scheme, token) = value
        .split_once(' ')
        .ok_or(MessageError("`auth` without a scheme"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(MessageError("the scheme of `auth` is not `Bearer`"));
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() {
        return Err(MessageError("`auth` without a token"));
    }
    Ok(token)
}

/// What a client is told whose token is not taken, whyever: it answers with `^A`, and then the exchange has failed.
#[must_use]
pub fn invalid_token() -> String {
    r#"{"status":"invalid_token"}"#.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String), MessageError> {
        let first = ClientFirst::parse(text.as_bytes())?;
        Ok((first.token.to_owned(), first.authorization_id))
    }

    #[test]
    fn token_and_authorization_id_are_read() {
        let read = |token: &str, id: &str| Ok((token.to_owned(), id.to_owned()));
        assert_eq!(parsed("n,,\u{1}auth=Bearer a.b.c\u{1}\u{1}"), read("a.b.c", ""));
        assert_eq!(
            parsed("n,a=al=2Cice=3D,\u{1}host=b\u{1}auth=bearer  a.b.c\u{1}port=1\u{1}\u{1}"),
            read("a.b.c", "al,ice=")
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (text, why) in [
            ("", "no key-value pairs"),
            ("n,,", "no key-value pairs"),
            (
                "y,,\u{1}auth=Bearer t\u{1}\u{1}",
                "no GS2 header of a client without channel binding",
            ),
            (
                "n,\u{1}auth=Bearer t\u{1}\u{1}",
                "no GS2 header of a client without channel binding",
            ),
            (
                "n,b=x,\u{1}auth=Bearer t\u{1}\u{1}",
                "unknown attribute in the GS2 header",
            ),
            ("n,,\u{1}auth=Bearer t", "it does not end as it has to"),
            ("n,,\u{1}\u{1}", "no `auth`"),
            ("n,,\u{1}auth\u{1}\u{1}", "a pair without `=`"),
            (
                "n,,\u{1}au-th=Bearer t\u{1}\u{1}",
                "a name that is not of letters",
            ),
            ("n,,\u{1}auth=t\u{1}\u{1}", "`auth` without a scheme"),
            (
                "n,,\u{1}auth=Basic t\u{1}\u{1}",
                "the scheme of `auth` is not `Bearer`",
            ),
            ("n,,\u{1}auth=Bearer \u{1}\u{1}", "`auth` without a token"),
        ] {
            assert_eq!(parsed(text), Err(MessageError(why)), "{text:?}");
        }
        assert_eq!(ClientFirst::parse(&[0xff]), Err(MessageError("not UTF-8")));
    }

    #[test]
    fn token_is_not_printed() {
        let first = ClientFirst::parse(b"n,,\x01auth=Bearer secret\x01\x01").expect("valid");
        assert_eq!(format!("{first:?}"), "ClientFirst(as ``, token not shown)");
    }
}
