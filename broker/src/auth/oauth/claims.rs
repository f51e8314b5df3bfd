//! What a token claims, and what it has to (RFC 7519; KIP-768).

use serde_json::{Map, Value};

/// What is expected of tokens: `sasl.oauthbearer.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// One of these has to be among those that the token is for; empty: it is not asked.
    pub audiences: Vec<String>,
    /// Who has issued it; none: it is not asked.
    pub issuer: Option<String>,
    /// By how much clocks may differ, in seconds.
    pub clock_skew_seconds: i64,
    /// Which claim names the user.
    pub sub_claim: String,
    /// Which claim names scopes: it may be missing, but not be something else.
    pub scope_claim: String,
}

/// Whom a token names, and until when, in milliseconds since 1970.
pub(super) type Named = (String, i64);

impl Expected {
    /// Holds the claims against what is expected, as Kafka's broker does.
    pub(super) fn check(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<Named, String> {
        let now = now_ms.div_euclid(1_000);
        let expires = time(claims, "exp")?.ok_or("it has no `exp`")?;
        let issued = time(claims, "iat")?.ok_or("it has no `iat`")?;
        if now.saturating_sub(self.clock_skew_seconds) >= expires {
            return Err("it has expired".to_owned());
        }
        if time(claims, "nbf")?.is_some_and(|begins| now.saturating_add(self.clock_skew_seconds) < begins) {
            return Err("it does not hold yet (`nbf`)".to_owned());
        }
        if expires < issued {
            return Err("it ends before it was issued".to_owned());
        }
        self.check_origin(claims)?;
        check_scope(claims.get(&self.scope_claim), &self.scope_claim)?;
        let name = claims
            .get(&self.sub_claim)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| format!("it names nobody in `{}`", self.sub_claim))?;
        Ok((name.to_owned(), expires.saturating_mul(1_000)))
    }

    fn check_origin(&self, claims: &Map<String, Value>) -> Result<(), String> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(format!("it is not issued by `{issuer}`"));
        }
        let expected = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|audience| self.audiences.iter().any(|expected| expected == audience))
        };
        let is_for_us = self.audiences.is_empty()
            || match claims.get("aud") {
                Some(Value::Array(audiences)) => audiences.iter().any(expected),
                Some(audience) => expected(audience),
                None => false,
            };
        if !is_for_us {
            return Err(format!("it is not for `{}`", self.audiences.join("`, `")));
        }
        Ok(())
    }
}

/// A time, in seconds since 1970. Fractions of a second are left out.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_i64().or_else(|| {
        let seconds = value.as_f64()?;
        // What is so far from now is no time.
        (seconds.abs() < 1e15).then_some(seconds as i64)
    });
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(format!("its `{name}` is not a time")),
    }
}

fn check_scope(scope: Option<&Value>, name: &str) -> Result<(), String> {
    let is_scope = match scope {
        None | Some(Value::Null | Value::String(_)) => true,
        Some(Value::Array(scopes)) => scopes.iter().all(Value::is_string),
        Some(_) => false,
    };
    if is_scope {
        Ok(())
    } else {
        Err(format!("its `{name}` is neither a text nor a list of texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Half a second past the hundredth.
    const NOW_MS: i64 = 100_500;

    fn expected() -> Expected {
        Expected {
            audiences: vec!["kafka".into(), "brokers".into()],
            issuer: Some("https://issuer".into()),
            clock_skew_seconds: 30,
            sub_claim: "sub".into(),
            scope_claim: "scope".into(),
        }
    }

    fn check(expected: &Expected, changes: Value) -> Result<Named, String> {
        let mut claims = json!({
            "sub": "alice", "iss": "https://issuer", "aud": ["web", "kafka"], "iat": 90, "exp": 200
        });
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::String(text) if text == "(none)" => {
                    claims.as_object_mut().expect("an object").remove(name);
                }
                _ => claims[name] = value.clone(),
            }
        }
        expected.check(claims.as_object().expect("an object"), NOW_MS)
    }

    #[test]
    fn good_claims_name_a_user_and_an_end() {
        let named = Ok(("alice".to_owned(), 200_000));
        for changes in [
            json!({}),
            json!({"aud": "brokers"}),
            json!({"scope": "a b"}),
            json!({"scope": ["a", "b"]}),
            json!({"nbf": 130}),
            json!({"sub": " alice "}),
            json!({"exp": 200.9}),
        ] {
            assert_eq!(check(&expected(), changes.clone()), named, "{changes}");
        }
        let skewed = check(&expected(), json!({"exp": 71, "iat": 60}));
        assert_eq!(skewed, Ok(("alice".to_owned(), 71_000)));
    }

    #[test]
    fn claims_are_refused_for_what_is_wrong_with_them() {
        for (changes, why) in [
            (json!({"exp": 70}), "it has expired"),
            (json!({"exp": "(none)"}), "it has no `exp`"),
            (json!({"exp": "200"}), "its `exp` is not a time"),
            (json!({"exp": null}), "its `exp` is not a time"),
            (json!({"exp": 1e300}), "its `exp` is not a time"),
            (json!({"iat": "(none)"}), "it has no `iat`"),
            (json!({"iat": []}), "its `iat` is not a time"),
            (json!({"iat": 201}), "it ends before it was issued"),
            (json!({"nbf": 131}), "it does not hold yet (`nbf`)"),
            (json!({"nbf": "soon"}), "its `nbf` is not a time"),
            (
                json!({"iss": "https://issuer/"}),
                "it is not issued by `https://issuer`",
            ),
            (json!({"iss": "(none)"}), "it is not issued by `https://issuer`"),
            (json!({"aud": "web"}), "it is not for `kafka`, `brokers`"),
            (json!({"aud": [["kafka"]]}), "it is not for `kafka`, `brokers`"),
            (json!({"aud": "(none)"}), "it is not for `kafka`, `brokers`"),
            (
                json!({"scope": 1}),
                "its `scope` is neither a text nor a list of texts",
            ),
            (
                json!({"scope": ["a", 1]}),
                "its `scope` is neither a text nor a list of texts",
            ),
            (json!({"sub": " "}), "it names nobody in `sub`"),
            (json!({"sub": 7}), "it names nobody in `sub`"),
            (json!({"sub": "(none)"}), "it names nobody in `sub`"),
        ] {
            assert_eq!(
                check(&expected(), changes.clone()),
                Err(why.to_owned()),
                "{changes}"
            );
        }
    }

    #[test]
    fn issuer_and_audience_are_asked_only_where_they_are_expected() {
        let open = Expected {
            audiences: Vec::new(),
            issuer: None,
            sub_claim: "azp".into(),
            ..expected()
        };
        let named = check(&open, json!({"iss": "(none)", "aud": "(none)", "azp": "job"}));
        assert_eq!(named, Ok(("job".to_owned(), 200_000)));
    }
}
