//! Delegation tokens (KIP-48) in records and requests.

use std::fmt;

use crate::proto::metadata::{DelegationToken, ExpireDelegationToken, RenewDelegationToken};

impl DelegationToken {
    /// Whether it still holds at that time, in milliseconds since 1970.
    #[must_use]
    pub fn holds(&self, now_ms: i64) -> bool {
        now_ms <= self.expiry_ms.min(self.max_ms)
    }

    /// Whether the user owns it, or is one of those who may renew it.
    #[must_use]
    pub fn is_of(&self, user: &str) -> bool {
        self.owner == user || self.renewers.iter().any(|renewer| renewer == user)
    }
}

/// Stands for what is not shown.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

macro_rules! without_hmac {
    ($($message:ident)*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    .field("hmac", &Hidden)
                    .field("requester", &self.requester)
                    .field("period_ms", &self.period_ms)
                    .finish()
            }
        }
    )*};
}
without_hmac!(RenewDelegationToken ExpireDelegationToken);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metadata::{Request, request};

    #[test]
    fn token_holds_through_the_millisecond_of_its_end() {
        let token = DelegationToken {
            owner: "alice".into(),
            renewers: vec!["bob".into()],
            expiry_ms: 10,
            max_ms: 10,
            ..DelegationToken::default()
        };
        assert!(token.holds(10) && !token.holds(11));
        assert!(token.is_of("alice") && token.is_of("bob") && !token.is_of("carol"));
    }

    #[test]
    fn what_proves_a_token_is_not_printed() {
        let asked = RenewDelegationToken {
            hmac: vec![77; 64],
            requester: "alice".into(),
            period_ms: 5,
        };
        let request = Request {
            validate_only: false,
            request: Some(request::Request::RenewDelegationToken(asked)),
        };
        assert_eq!(
            format!("{request:?}"),
            "Request { validate_only: false, request: Some(RenewDelegationToken(RenewDelegationToken \
             { hmac: [hidden], requester: \"alice\", period_ms: 5 })) }"
        );
    }
}
