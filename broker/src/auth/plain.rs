//! PLAIN (RFC 4616): name and password in the clear, so only over TLS. The password is checked against the salted keys
//! that SCRAM keeps; no other copy of it exists.

use std::fmt;

/// The longest message that is looked at, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// What a client sent.
#[derive(PartialEq, Eq)]
pub struct Plain<'a> {
    /// Who wants to come in.
    pub user: &'a str,
    /// With what password.
    pub password: &'a str,
}

impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain({}, password not shown)", self.user)
    }
}

/// Why a message is refused before any password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `[authorization id] NUL user NUL password`.
    #[error("malformed PLAIN message: {0}")]
    Malformed(&'static str),
    /// The client wants to act as somebody else.
    #[error("authorization id differs from the user name")]
    AuthorizationId,
}

impl<'a> Plain<'a> {
    /// Reads the one message of the exchange.
    ///
    /// # Errors
    /// What is malformed or longer than [`MESSAGE_BYTES_MAX`], and a request to act as another user.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Error::Malformed("longer than 4096 bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed("not UTF-8"))?;
        let parts: Vec<&str> = text.split('\0').collect();
        let [authorization_id, user, password] = parts[..] else {
            return Err(Error::Malformed("not three parts"));
        };
        if user.is_empty() {
            return Err(Error::Malformed("no user name"));
        }
        if password.is_empty() {
            return Err(Error::Malformed("no password"));
        }
        if !authorization_id.is_empty() && authorization_id != user {
            return Err(Error::AuthorizationId);
        }
        Ok(Self { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_are_read() {
        let expected = Ok(Plain {
            user: "alice",
            password: "p,=",
        });
        assert_eq!(Plain::parse(b"\0alice\0p,="), expected);
        assert_eq!(Plain::parse(b"alice\0alice\0p,="), expected);
    }

    #[test]
    fn malformed_messages_are_refused() {
        for (bytes, error) in [
            (&b""[..], Error::Malformed("not three parts")),
            (b"alice\0p", Error::Malformed("not three parts")),
            (b"\0alice\0p\0", Error::Malformed("not three parts")),
            (b"\0\0p", Error::Malformed("no user name")),
            (b"\0alice\0", Error::Malformed("no password")),
            (b"bob\0alice\0p", Error::AuthorizationId),
            (b"\0al\xffice\0p", Error::Malformed("not UTF-8")),
        ] {
            assert_eq!(Plain::parse(bytes), Err(error));
        }
        assert_eq!(
            Plain::parse(&[b'a'; 5000]),
            Err(Error::Malformed("longer than 4096 bytes"))
        );
    }

    #[test]
    fn password_is_not_printed() {
        assert_eq!(
            format!(
                "{:?}",
                Plain {
                    user: "a",
                    password: "b"
                }
            ),
            "Plain(a, password not shown)"
        );
    }
}
