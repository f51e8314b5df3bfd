//! The server's side: two messages in, two messages out.

use super::message::{self, Error};
use super::{Credential, Mechanism, same_bytes, xor};

/// With which a client says that it has a delegation token.
const TOKEN_EXTENSION: &str = "tokenauth";

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    gs2_header: String,
    bare: String,
    user: String,
    nonce: String,
    is_token: bool,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// What is not a client-first-message, one that demands channel binding or a mandatory extension, and one that asks
    /// to act as another user.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = message::text(bytes)?;
        let mut parts = text.splitn(3, ',');
        let (flag, authorization, bare) = match (parts.next(), parts.next(), parts.next()) {
            (Some(flag), Some(authorization), Some(bare)) => (flag, authorization, bare),
            _ => return Err(Error::Malformed("no GS2 header")),
        };
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(Error::ChannelBinding),
            _ => return Err(Error::Malformed("unknown channel binding flag")),
        }
        let mut attributes = bare.split(',');
        let user = message::unescape(message::take(&mut attributes, 'n', "no user name")?)?;
        let nonce = message::nonce(message::take(&mut attributes, 'r', "no nonce")?)?.to_owned();
        if !authorization.is_empty() {
            let id = authorization
                .strip_prefix("a=")
                .ok_or(Error::Malformed("unknown attribute in the GS2 header"))?;
            if message::unescape(id)? != user {
                return Err(Error::AuthorizationId);
            }
        }
        let is_token = attributes
            .filter_map(|extension| extension.split_once('='))
            .any(|(name, value)| name == TOKEN_EXTENSION && value.eq_ignore_ascii_case("true"));
        let gs2_header = format!("{flag},{authorization},");
        Ok(Self {
            gs2_header,
            bare: bare.to_owned(),
            user,
            nonce,
            is_token,
        })
    }

    /// Who wants to come in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether that is no user's name but the id of a delegation token (KIP-48).
    #[must_use]
    pub fn is_token(&self) -> bool {
        self.is_token
    }
}

/// An exchange in which the server has spoken once.
#[derive(Debug)]
pub struct Challenge {
    mechanism: Mechanism,
    first: ClientFirst,
    credential: Credential,
    user_exists: bool,
    nonce: String,
    message: String,
}

impl Challenge {
    /// Answers the client's first message. `server_nonce` must be fresh and printable, without commas; `secret` is what
    /// stands in for a user that does not exist, see [`Credential::of_nobody`].
    #[must_use]
    pub fn new(
        mechanism: Mechanism,
        first: ClientFirst,
        credential: Option<Credential>,
        server_nonce: &str,
        secret: &[u8],
    ) -> Self {
        let user_exists = credential.is_some();
        let credential = credential.unwrap_or_else(|| Credential::of_nobody(mechanism, &first.user, secret));
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = message::encode(&credential.salt);
        let message = format!("r={nonce},s={salt},i={}", credential.iterations);
        Self {
            mechanism,
            first,
            credential,
            user_exists,
            nonce,
            message,
        }
    }

    /// The server's first message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Who wants to come in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.first.user
    }

    /// The key that the proof is checked against.
    #[must_use]
    pub fn stored_key(&self) -> &[u8] {
        &self.credential.stored_key
    }

    /// Takes the client's proof and gives the server's last message, its own proof.
    ///
    /// # Errors
    /// [`Error::Refused`] for a proof that is wrong, whether or not the user exists; other errors for what is no
    /// client-final-message of this exchange.
    pub fn finish(&self, client_final: &[u8]) -> Result<String, Error> {
        let text = message::text(client_final)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Error::Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = message::decode(
            message::take(&mut attributes, 'c', "no channel binding")?,
            "channel binding",
        )?;
        if binding != self.first.gs2_header.as_bytes() {
            return Err(Error::Malformed("channel binding differs from the first message"));
        }
        // librdkafka before 2.5 sends its own nonce twice; Kafka looks at the end of it for that reason, and so do we. The proof
        // covers the text as it was sent.
        if !message::take(&mut attributes, 'r', "no nonce")?.ends_with(&self.nonce) {
            return Err(Error::Malformed("nonce of another exchange"));
        }
        let proof = message::decode(proof, "proof is not base64")?;
        let auth_message = format!("{},{},{without_proof}", self.first.bare, self.message);
        let signature = self
            .mechanism
            .sign(&self.credential.stored_key, auth_message.as_bytes());
        let client_key = xor(&proof, &signature);
        let matches = proof.len() == signature.len()
            && same_bytes(&self.mechanism.hash(&client_key), &self.credential.stored_key);
        if !matches || !self.user_exists {
            return Err(Error::Refused);
        }
        let server_signature = self
            .mechanism
            .sign(&self.credential.server_key, auth_message.as_bytes());
        Ok(format!("v={}", message::encode(&server_signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_first_messages_are_refused() {
        for (text, error) in [
            ("", Error::Malformed("no GS2 header")),
            ("n,", Error::Malformed("no GS2 header")),
            ("x,,n=a,r=b", Error::Malformed("unknown channel binding flag")),
            ("p=tls-unique,,n=a,r=b", Error::ChannelBinding),
            ("n,,r=b,n=a", Error::Malformed("no user name")),
            ("n,,n=,r=b", Error::Malformed("no user name")),
            ("n,,n=a", Error::Malformed("no nonce")),
            ("n,,n=a,r=\u{7}", Error::Malformed("nonce is not printable")),
            ("n,,n=a=b,r=c", Error::Malformed("user name with a lone `=`")),
            ("n,,m=ext,n=a,r=b", Error::Malformed("no user name")),
            ("n,a=bob,n=alice,r=b", Error::AuthorizationId),
            (
                "n,b=x,n=alice,r=b",
                Error::Malformed("unknown attribute in the GS2 header"),
            ),
        ] {
            assert_eq!(ClientFirst::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(
            ClientFirst::parse(&[0xff, b',', b',']),
            Err(Error::Malformed("not UTF-8"))
        );
        let long = format!("n,,n={},r=b", "a".repeat(5000));
        assert_eq!(
            ClientFirst::parse(long.as_bytes()),
            Err(Error::Malformed("longer than 4096 bytes"))
        );
    }

    #[test]
    fn own_name_as_authorization_id_and_extensions_are_taken() {
        let first = ClientFirst::parse(b"n,a=alice,n=alice,r=b,tokenauth=true").expect("valid");
        assert_eq!(first.user(), "alice");
        assert!(first.is_token());
        for other in ["", ",tokenauth=false", ",tokenauth", ",x=tokenauth=true"] {
            let first = ClientFirst::parse(format!("n,,n=alice,r=b{other}").as_bytes()).expect("valid");
            assert!(!first.is_token(), "{other}");
        }
    }

    #[test]
    fn client_that_sends_its_nonce_twice_is_taken() {
        let first = ClientFirst::parse(b"n,,n=a,r=b").expect("valid");
        let credential = Credential::of_password(Mechanism::Sha256, "p", b"s", 4096);
        let stored_key = credential.stored_key.clone();
        let challenge = Challenge::new(Mechanism::Sha256, first, Some(credential), "c", b"secret");
        let without_proof = "c=biws,r=bbc";
        let auth_message = format!("n=a,r=b,{},{without_proof}", challenge.message());
        let salted = Mechanism::Sha256.salted_password("p", b"s", 4096);
        let client_key = Mechanism::Sha256.sign(&salted, b"Client Key");
        let signature = Mechanism::Sha256.sign(&stored_key, auth_message.as_bytes());
        let proof = message::encode(&xor(&client_key, &signature));
        let answer = challenge.finish(format!("{without_proof},p={proof}").as_bytes());
        assert!(answer.is_ok(), "{answer:?}");
    }

    #[test]
    fn malformed_final_messages_are_refused() {
        let first = ClientFirst::parse(b"n,,n=a,r=b").expect("valid");
        let credential = Credential::of_password(Mechanism::Sha256, "p", b"s", 4096);
        let challenge = Challenge::new(Mechanism::Sha256, first, Some(credential), "c", b"secret");
        for (text, error) in [
            ("", Error::Malformed("no proof")),
            ("c=biws,r=bc", Error::Malformed("no proof")),
            ("r=bc,p=AA==", Error::Malformed("no channel binding")),
            (
                "c=eSws,r=bc,p=AA==",
                Error::Malformed("channel binding differs from the first message"),
            ),
            (
                "c=biws,r=bd,p=AA==",
                Error::Malformed("nonce of another exchange"),
            ),
            ("c=biws,p=AA==", Error::Malformed("no nonce")),
            ("c=biws,r=bc,p=!", Error::Malformed("proof is not base64")),
            ("c=biws,r=bc,p=", Error::Refused),
            ("c=biws,r=bc,p=AA==", Error::Refused),
        ] {
            assert_eq!(challenge.finish(text.as_bytes()), Err(error), "{text}");
        }
    }
}
