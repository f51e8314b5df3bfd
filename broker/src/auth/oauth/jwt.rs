//! JSON Web Tokens in the compact form, signed (RFC 7515, RFC 7519).

use super::claims::Expected;
use super::decode;
use super::jwks::{Algorithm, KeySet};
use serde_json::{Map, Value};

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The user.
    pub user: String,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// Why a token is not taken. For the log: the client is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no signed token.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Its algorithm is none that is taken, whichever key there may be.
    #[error("the token's algorithm `{0}` is not taken")]
    Algorithm(String),
    /// No key with that id is known: there may be a newer set of keys.
    #[error("the token is signed by the key `{0}`, which is not in the key set")]
    UnknownKey(String),
    /// The key did not sign it.
    #[error("the token's signature is wrong")]
    Signature,
    /// It claims what it should not.
    #[error("the token is not taken: {0}")]
    Claims(String),
}

/// Checks a token at that time, and says whom it names.
///
/// # Errors
/// [`Refused`]. What the token says of itself is only looked at when its signature is right.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected, now_ms: i64) -> Result<Bearer, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Malformed("longer than 64 KiB"));
    }
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(Refused::Malformed("not three parts"))?;
    let (header, claims) = signed
        .split_once('.')
        .ok_or(Refused::Malformed("not three parts"))?;
    let signature = decode(signature).ok_or(Refused::Malformed("its signature is not base64url"))?;
    let header = object(header).ok_or(Refused::Malformed("its header is not a JSON object"))?;
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = Algorithm::named(algorithm)
        .ok_or_else(|| Refused::Algorithm(algorithm.chars().take(16).collect()))?;
    // Whoever does not understand what is critical has to refuse it (RFC 7515, 4.1.11), and nothing is understood here.
    if header.contains_key("crit") {
        return Err(Refused::Malformed("it has critical extensions"));
    }
    let id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return Err(Refused::Malformed("its `kid` is not a text")),
    };
    if let Some(id) = id
        && !keys.has(id)
    {
        return Err(Refused::UnknownKey(id.chars().take(64).collect()));
    }
    if !keys.signed(id, algorithm, signed.as_bytes(), &signature) {
        return Err(Refused::Signature);
    }
    let claims = object(claims).ok_or(Refused::Malformed("its claims are not a JSON object"))?;
    let (user, expires_ms) = expected.check(&claims, now_ms).map_err(Refused::Claims)?;
    Ok(Bearer { user, expires_ms })
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decode(part)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::oauth::BASE64;
    use base64::Engine;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    const NOW_MS: i64 = 100_000;

    fn expected() -> Expected {
        Expected {
            audiences: Vec::new(),
            issuer: None,
            clock_skew_seconds: 0,
            sub_claim: "sub".into(),
            scope_claim: "scope".into(),
        }
    }

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed")
    }

    /// The keys of these seeds, named after them.
    fn keys(seeds: &[u8]) -> KeySet {
        let keys: Vec<Value> = seeds
            .iter()
            .map(|seed| {
                let public = BASE64.encode(pair(*seed).public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": seed.to_string(), "x": public})
            })
            .collect();
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("keys")
    }

    fn token(header: &Value, claims: &Value, seed: u8) -> String {
        let part = |value: &Value| BASE64.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = pair(seed).sign(text.as_bytes());
        format!("{text}.{}", BASE64.encode(signature))
    }

    fn claims() -> Value {
        json!({"sub": "alice", "iat": 90, "exp": 200})
    }

    fn verified(token: &str, keys: &KeySet) -> Result<Bearer, Refused> {
        verify(token, keys, &expected(), NOW_MS)
    }

    fn alice() -> Result<Bearer, Refused> {
        Ok(Bearer {
            user: "alice".into(),
            expires_ms: 200_000,
        })
    }

    #[test]
    fn signed_token_names_its_user() {
        let keys = keys(&[1, 2]);
        let named = token(
            &json!({"alg": "EdDSA", "kid": "2", "typ": "at+jwt"}),
            &claims(),
            2,
        );
        assert_eq!(verified(&named, &keys), alice());
        let nameless = token(&json!({"alg": "EdDSA"}), &claims(), 2);
        assert_eq!(verified(&nameless, &keys), alice());
    }

    #[test]
    fn token_of_another_key_is_refused() {
        let keys = keys(&[1, 2]);
        let forged = token(&json!({"alg": "EdDSA", "kid": "2"}), &claims(), 1);
        assert_eq!(verified(&forged, &keys), Err(Refused::Signature));
        let stranger = token(&json!({"alg": "EdDSA"}), &claims(), 3);
        assert_eq!(verified(&stranger, &keys), Err(Refused::Signature));
        let unknown = token(&json!({"alg": "EdDSA", "kid": "3"}), &claims(), 3);
        assert_eq!(verified(&unknown, &keys), Err(Refused::UnknownKey("3".into())));
    }

    #[test]
    fn changed_token_is_refused() {
        let keys = keys(&[1]);
        let good = token(&json!({"alg": "EdDSA"}), &claims(), 1);
        let parts: Vec<&str> = good.split('.').collect();
        let admin = BASE64.encode(json!({"sub": "admin", "iat": 90, "exp": 200}).to_string());
        let changed = [parts[0], &admin, parts[2]].join(".");
        assert_eq!(verified(&changed, &keys), Err(Refused::Signature));
        let unsigned = [parts[0], parts[1], ""].join(".");
        assert_eq!(verified(&unsigned, &keys), Err(Refused::Signature));
    }

    #[test]
    fn algorithm_is_not_the_tokens_to_choose() {
        let keys = keys(&[1]);
        for name in ["none", "HS256", "", "EDDSA"] {
            let odd = token(&json!({"alg": name}), &claims(), 1);
            assert_eq!(verified(&odd, &keys), Err(Refused::Algorithm(name.into())));
        }
        for name in ["RS256", "ES256"] {
            let other = token(&json!({"alg": name}), &claims(), 1);
            assert_eq!(verified(&other, &keys), Err(Refused::Signature), "{name}");
        }
        let mut only = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "alg": "ES256", "x": BASE64.encode(pair(1).public_key())}
        ]});
        let good = token(&json!({"alg": "EdDSA"}), &claims(), 1);
        let set = |form: &Value| KeySet::parse(form.to_string().as_bytes()).expect("a key");
        assert_eq!(verified(&good, &set(&only)), Err(Refused::Signature));
        only["keys"][0]["alg"] = json!("EdDSA");
        assert_eq!(verified(&good, &set(&only)), alice());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let keys = keys(&[1]);
        let critical = token(&json!({"alg": "EdDSA", "crit": ["b64"]}), &claims(), 1);
        let number = token(&json!({"alg": "EdDSA", "kid": 1}), &claims(), 1);
        let list = token(&json!({"alg": "EdDSA"}), &json!([1]), 1);
        for (text, why) in [
            ("", "not three parts"),
            ("a.b", "not three parts"),
            ("a.b.c.d", "its signature is not base64url"),
            ("a.b.!!", "its signature is not base64url"),
            ("!!.b.AAAA", "its header is not a JSON object"),
            (&critical, "it has critical extensions"),
            (&number, "its `kid` is not a text"),
            (&list, "its claims are not a JSON object"),
            (&"a".repeat(65_537), "longer than 64 KiB"),
        ] {
            assert_eq!(verified(text, &keys), Err(Refused::Malformed(why)));
        }
    }

    #[test]
    fn claims_decide_after_the_signature() {
        let keys = keys(&[1]);
        let late = token(
            &json!({"alg": "EdDSA"}),
            &json!({"sub": "a", "iat": 1, "exp": 99}),
            1,
        );
        assert_eq!(
            verified(&late, &keys),
            Err(Refused::Claims("it has expired".into()))
        );
    }

    /// The tokens of RFC 7515, A.2 and A.3: both have a claim `exp` and no `iat`.
    #[test]
    fn signatures_of_rfc_7515_are_right() {
        let keys = KeySet::parse(
            br#"{"keys": [
                {"kty": "RSA", "kid": "A.2", "e": "AQAB",
                 "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
                {"kty": "EC", "kid": "A.3", "crv": "P-256",
                 "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                 "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
            ]}"#,
        )
        .expect("keys");
        let claims =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        for (header, signature) in [
            (
                "eyJhbGciOiJSUzI1NiJ9",
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                "eyJhbGciOiJFUzI1NiJ9",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ] {
            let token = format!("{header}.{claims}.{signature}");
            let no_iat = Err(Refused::Claims("it has no `iat`".into()));
            assert_eq!(verified(&token, &keys), no_iat, "{header}");
            let damaged = format!("{header}.{}.{signature}", claims.replace('Q', "g"));
            assert_eq!(verified(&damaged, &keys), Err(Refused::Signature), "{header}");
        }
    }
}
