//! Delegation tokens (KIP-48, KIP-373), of the one user who has authenticated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flotilla_protocol::messages::create_delegation_token_request::CreatableRenewers;
use flotilla_protocol::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use flotilla_protocol::messages::{
    CreateDelegationTokenRequest, DescribeDelegationTokenRequest, ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::broker::{NOBODY, Who};
use crate::case::{Case, case};
use crate::scene::Scene;

const NO_TOKEN: Bytes = Bytes::from_static(b"what proves no token");

pub fn cases() -> Vec<Case> {
    [create(), renew(), expire(), describe()]
        .into_iter()
        .flatten()
        .collect()
}

/// A token of one's own, which a user of the case's name may renew.
fn own(at: &Scene) -> CreateDelegationTokenRequest {
    CreateDelegationTokenRequest {
        owner_principal_type: Some("".into()),
        owner_principal_name: Some("".into()),
        renewers: vec![CreatableRenewers {
            principal_type: "User".into(),
            principal_name: at.name(),
        }],
        max_lifetime_ms: -1,
    }
}

/// What proves a token that was made, once the controller and the broker know it: with Apache Kafka that takes a moment.
fn made(at: &mut Scene) -> Result<Bytes> {
    let request = own(at);
    let token = at.broker.call(Who::Nobody, 2, &request)?;
    let token = token.context("CreateDelegationToken is answered")?;
    ensure!(token.error_code == 0, "{token:?}");
    let renew = renewed(token.hmac.clone());
    let expiry_ms = at.wait_for("the controller to know the token", |at| {
        let answer = at.broker.call(Who::Nobody, 2, &renew)?;
        let answer = answer.context("RenewDelegationToken is answered")?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(answer.expiry_timestamp_ms)
    });
    wait_for_token(at, &token.hmac, expiry_ms);
    Ok(token.hmac)
}

/// Until the broker tells of a token that ends then. Controllers of Apache Kafka learn of it before their brokers do.
fn wait_for_token(at: &mut Scene, hmac: &Bytes, expiry_ms: i64) {
    at.wait_for("the broker to know the token", |at| {
        let request = DescribeDelegationTokenRequest { owners: None };
        let answer = at.broker.call(Who::Nobody, 2, &request)?;
        let answer = answer.context("DescribeDelegationToken is answered")?;
        let known = answer.tokens.iter().find(|known| known.hmac == hmac);
        ensure!(
            known.is_some_and(|known| known.expiry_timestamp == expiry_ms),
            "{known:?}"
        );
        Ok(())
    });
}

/// The same of one that has expired.
fn expired(at: &mut Scene) -> Result<Bytes> {
    let hmac = made(at)?;
    let request = ExpireDelegationTokenRequest {
        hmac: hmac.clone(),
        expiry_time_period_ms: 0,
    };
    let ended = at.broker.call(Who::Nobody, 2, &request)?;
    let ended = ended.context("ExpireDelegationToken is answered")?;
    ensure!(ended.error_code == 0, "{ended:?}");
    wait_for_token(at, &hmac, ended.expiry_timestamp_ms);
    let now_ms = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|now| now.as_millis() as i64)
    };
    while now_ms()? <= ended.expiry_timestamp_ms {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(hmac)
}

fn create() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("one's own", E::None, |at| Ok(own(at))).by_nobody(),
        case("for a while", E::None, |at| {
            Ok(CreateDelegationTokenRequest {
                max_lifetime_ms: 60_000,
                ..own(at)
            })
        })
        .by_nobody(),
        case("one's own, by name", E::None, |at| {
            Ok(CreateDelegationTokenRequest {
                owner_principal_type: Some("User".into()),
                owner_principal_name: Some(Str::from_static(NOBODY)),
                ..own(at)
            })
        })
        .versions(3..=i16::MAX)
        .by_nobody(),
        case(
            "without having authenticated",
            E::DelegationTokenRequestNotAllowed,
            |at| Ok(own(at)),
        ),
        case("for another", E::DelegationTokenAuthorizationFailed, |at| {
            Ok(CreateDelegationTokenRequest {
                owner_principal_type: Some("User".into()),
                owner_principal_name: Some("another".into()),
                ..own(at)
            })
        })
        .versions(3..=i16::MAX)
        .by_nobody(),
        case("a renewer who is no user", E::InvalidPrincipalType, |at| {
            let mut request = own(at);
            request.renewers[0].principal_type = "Group".into();
            Ok(request)
        })
        .by_nobody(),
    ]
}

fn renewed(hmac: Bytes) -> RenewDelegationTokenRequest {
    RenewDelegationTokenRequest {
        hmac,
        renew_period_ms: -1,
    }
}

fn renew() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a token", E::None, |at| Ok(renewed(made(at)?))).by_nobody(),
        case("a token for a while", E::None, |at| {
            Ok(RenewDelegationTokenRequest {
                renew_period_ms: 60_000,
                ..renewed(made(at)?)
            })
        })
        .by_nobody(),
        case("an unknown token", E::DelegationTokenNotFound, |_| {
            Ok(renewed(NO_TOKEN))
        })
        .by_nobody(),
        case("an expired token", E::DelegationTokenExpired, |at| {
            Ok(renewed(expired(at)?))
        })
        .by_nobody(),
        case(
            "without having authenticated",
            E::DelegationTokenRequestNotAllowed,
            |_| Ok(renewed(NO_TOKEN)),
        ),
    ]
}

fn ended(hmac: Bytes, expiry_time_period_ms: i64) -> ExpireDelegationTokenRequest {
    ExpireDelegationTokenRequest {
        hmac,
        expiry_time_period_ms,
    }
}

fn expire() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("at once", E::None, |at| Ok(ended(made(at)?, -1))).by_nobody(),
        case("soon", E::None, |at| Ok(ended(made(at)?, 60_000))).by_nobody(),
        case("an unknown token", E::DelegationTokenNotFound, |_| {
            Ok(ended(NO_TOKEN, -1))
        })
        .by_nobody(),
        case("an expired token", E::DelegationTokenExpired, |at| {
            Ok(ended(expired(at)?, 60_000))
        })
        .by_nobody(),
        case("an expired token, at once", E::None, |at| {
            Ok(ended(expired(at)?, -1))
        })
        .by_nobody(),
        case(
            "without having authenticated",
            E::DelegationTokenRequestNotAllowed,
            |_| Ok(ended(NO_TOKEN, -1)),
        ),
    ]
}

fn of(owners: Option<Vec<Str>>) -> DescribeDelegationTokenRequest {
    let owner = |principal_name| DescribeDelegationTokenOwner {
        principal_type: "User".into(),
        principal_name,
    };
    DescribeDelegationTokenRequest {
        owners: owners.map(|owners| owners.into_iter().map(owner).collect()),
    }
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("all that one sees", E::None, |at| {
            made(at)?;
            Ok(of(None))
        })
        .own("tokens")
        .by_nobody(),
        case("of a renewer", E::None, |at| {
            made(at)?;
            Ok(of(Some(vec![at.name()])))
        })
        .own("tokens")
        .by_nobody(),
        case("of somebody else", E::None, |at| {
            made(at)?;
            Ok(of(Some(vec!["somebody".into()])))
        })
        .by_nobody(),
        case("of no one", E::None, |at| {
            made(at)?;
            Ok(of(Some(Vec::new())))
        })
        .by_nobody(),
        case(
            "without having authenticated",
            E::DelegationTokenRequestNotAllowed,
            |_| Ok(of(None)),
        ),
    ]
}
