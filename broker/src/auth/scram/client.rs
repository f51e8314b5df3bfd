//! The client's side, for the command line and for tests.

use super::message::{self, Error};
use super::{Credential, ITERATIONS_MAX, ITERATIONS_MIN, Mechanism, same_bytes, xor};

/// Why a client gives an exchange up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server's message is not what RFC 5802 says.
    #[error(transparent)]
    Server(#[from] Error),
    /// The server's nonce does not begin with ours: the answer to another exchange.
    #[error("the server answered another exchange")]
    Nonce,
    /// Fewer iterations would make the password easy to guess from the proof, more would keep us busy.
    #[error("the server asks for {0} iterations; at least 4096 and at most 16384 are accepted")]
    Iterations(u64),
    /// The server does not know the user's key: it is not the one it claims to be.
    #[error("the server did not prove that it knows this user")]
    WrongServer,
}

/// A client that has spoken once.
#[derive(Debug)]
pub struct Client<'a> {
    mechanism: Mechanism,
    password: &'a str,
    nonce: &'a str,
    bare: String,
}

/// What the server's last message must prove.
#[derive(Debug)]
pub struct ServerProof {
    signature: Vec<u8>,
}

const GS2_HEADER: &str = "n,,";

impl<'a> Client<'a> {
    /// `nonce` must be fresh and printable, without commas.
    #[must_use]
    pub fn new(mechanism: Mechanism, user: &str, password: &'a str, nonce: &'a str) -> Self {
        let bare = format!("n={},r={nonce}", message::escape(user));
        Self {
            mechanism,
            password,
            nonce,
            bare,
        }
    }

    /// The same, of one that has a delegation token (KIP-48): its id is the name, and its HMAC in base64 the password.
    #[must_use]
    pub fn with_token(mechanism: Mechanism, id: &str, password: &'a str, nonce: &'a str) -> Self {
        let client = Self::new(mechanism, id, password, nonce);
        Self {
            bare: format!("{},tokenauth=true", client.bare),
            ..client
        }
    }

    /// The first message.
    #[must_use]
    pub fn first_message(&self) -> String {
        format!("{GS2_HEADER}{}", self.bare)
    }

    /// The last message, with the proof, and what to check the server's answer with.
    ///
    /// # Errors
    /// [`ClientError`], where the server's first message cannot be trusted.
    pub fn answer(&self, server_first: &[u8]) -> Result<(String, ServerProof), ClientError> {
        let text = message::text(server_first)?;
        let mut attributes = text.split(',');
        let nonce = message::take(&mut attributes, 'r', "no nonce")?;
        if !nonce.starts_with(self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ClientError::Nonce);
        }
        let salt = message::decode(
            message::take(&mut attributes, 's', "no salt")?,
            "salt is not base64",
        )?;
        let iterations: u64 = message::take(&mut attributes, 'i', "no iteration count")?
            .parse()
            .map_err(|_| Error::Malformed("iteration count is not a number"))?;
        let iterations = u32::try_from(iterations)
            .ok()
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .ok_or(ClientError::Iterations(iterations))?;
        let salted = self.mechanism.salted_password(self.password, &salt, iterations);
        let keys = Credential::of_salted_password(self.mechanism, &salted, &salt, iterations);
        let without_proof = format!("c={},r={nonce}", message::encode(GS2_HEADER.as_bytes()));
        let auth_message = format!("{},{text},{without_proof}", self.bare);
        let client_key = self.mechanism.sign(&salted, b"Client Key");
        let signature = self.mechanism.sign(&keys.stored_key, auth_message.as_bytes());
        let proof = message::encode(&xor(&client_key, &signature));
        let signature = self.mechanism.sign(&keys.server_key, auth_message.as_bytes());
        Ok((format!("{without_proof},p={proof}"), ServerProof { signature }))
    }
}

impl ServerProof {
    /// Checks the server's last message.
    ///
    /// # Errors
    /// [`ClientError::WrongServer`] where it proves nothing.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ClientError> {
        let text = message::text(server_final)?;
        let proof = message::take(&mut text.split(','), 'v', "no verifier")?;
        let proof = message::decode(proof, "verifier is not base64")?;
        if same_bytes(&proof, &self.signature) {
            Ok(())
        } else {
            Err(ClientError::WrongServer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_cannot_be_trusted_are_left() {
        let client = Client::new(Mechanism::Sha256, "a", "p", "abc");
        let error = |text: &str| client.answer(text.as_bytes()).map(|_| ()).expect_err(text);
        assert_eq!(error("r=xyz,s=AA==,i=4096"), ClientError::Nonce);
        assert_eq!(error("r=abc,s=AA==,i=4096"), ClientError::Nonce);
        assert_eq!(error("r=abcd,s=AA==,i=1"), ClientError::Iterations(1));
        assert_eq!(
            error("r=abcd,s=AA==,i=99999999999"),
            ClientError::Iterations(99_999_999_999)
        );
        assert_eq!(
            error("r=abcd,s=AA=="),
            ClientError::Server(Error::Malformed("no iteration count"))
        );
        assert_eq!(
            error("e=other-error"),
            ClientError::Server(Error::Malformed("no nonce"))
        );
    }
}
