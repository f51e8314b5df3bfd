//! OAUTHBEARER (RFC 7628, KIP-255, KIP-768): a client shows a JSON Web Token (RFC 7519) that somebody else has signed, whose
//! public keys are known (RFC 7517).
//!
//! Signatures are checked by `ring`, which the broker stands on anyway, and only with the kinds of keys that are asymmetric:
//! a token cannot choose to be checked by what is public.

mod claims;
mod jwks;
mod jwt;
mod message;

pub use claims::Expected;
pub use jwks::{KeySet, KeySetError};
pub use jwt::{Bearer, Refused, verify};
pub use message::{ClientFirst, MessageError, invalid_token};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 as JSON Web Tokens and keys have it. Some issuers pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}
