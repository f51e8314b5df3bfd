use super::*;
use crate::auth::token::Key;

const DAY: i64 = 86_400_000;
const SECRET: (&str, &str) = ("delegation.token.secret.key", "hush");

/// Tokens can be made; it is 1,000 ms past 1970.
fn fleet() -> Fleet {
    let mut fleet = Fleet::empty("1");
    fleet.settings.push(SECRET);
    fleet
}

fn create(owner: &str, renewers: &[&str], max_lifetime_ms: i64) -> Asked {
    Asked::CreateDelegationToken(proto::CreateDelegationToken {
        owner: owner.to_owned(),
        requester: "admin".to_owned(),
        renewers: renewers.iter().map(|name| (*name).to_owned()).collect(),
        max_lifetime_ms,
    })
}

/// Makes one and says what proves it.
fn made(fleet: &mut Fleet, owner: &str, renewers: &[&str], max_lifetime_ms: i64) -> Vec<u8> {
    let decision = fleet.ask(create(owner, renewers, max_lifetime_ms));
    let token = decision.response.delegation_token.expect("a token");
    Key::new(SECRET.1).hmac(&token.id)
}

fn renew(hmac: &[u8], requester: &str, period_ms: i64) -> Asked {
    Asked::RenewDelegationToken(proto::RenewDelegationToken {
        hmac: hmac.to_vec(),
        requester: requester.to_owned(),
        period_ms,
    })
}

fn expire(hmac: &[u8], requester: &str, period_ms: i64) -> Asked {
    Asked::ExpireDelegationToken(proto::ExpireDelegationToken {
        hmac: hmac.to_vec(),
        requester: requester.to_owned(),
        period_ms,
    })
}

/// When the token ends that the answer is about.
fn ends(fleet: &mut Fleet, asked: Asked) -> Result<i64, Refusal> {
    let response = fleet.ask(asked).response;
    match response.delegation_token {
        Some(token) => Ok(token.expiry_ms),
        None => Err(response.refusal()),
    }
}

#[test]
fn token_holds_for_a_day_and_a_week_in_all() {
    let mut fleet = fleet();
    let decision = fleet.ask(create("alice", &["bob", "carol"], -1));
    let token = proto::DelegationToken {
        id: Uuid([1; 16]).to_string(),
        owner: "alice".to_owned(),
        requester: "admin".to_owned(),
        renewers: vec!["bob".to_owned(), "carol".to_owned()],
        issue_ms: 1_000,
        expiry_ms: 1_000 + DAY,
        max_ms: 1_000 + 7 * DAY,
    };
    assert_eq!(decision.response.delegation_token.as_ref(), Some(&token));
    assert_eq!(
        decision.records,
        [Record {
            record: Some(Fact::DelegationToken(token.clone()))
        }]
    );
    assert_eq!(fleet.image.token(&token.id).map(AsRef::as_ref), Some(&token));
}

#[test]
fn asked_lifetime_counts_where_it_is_shorter_than_the_fleets() {
    let mut fleet = fleet();
    let mut ends_of = |asked_ms: i64| {
        let token = fleet
            .ask(create("alice", &[], asked_ms))
            .response
            .delegation_token;
        let token = token.expect("a token");
        (token.expiry_ms - 1_000, token.max_ms - 1_000)
    };
    assert_eq!(ends_of(500), (500, 500));
    assert_eq!(ends_of(2 * DAY), (DAY, 2 * DAY));
    assert_eq!(ends_of(0), (DAY, 7 * DAY));
    assert_eq!(ends_of(i64::MAX), (DAY, 7 * DAY));
    fleet.settings.extend([
        ("delegation.token.max.lifetime.ms", "9223372036854775807"),
        ("delegation.token.expiry.time.ms", "300"),
    ]);
    let token = fleet
        .ask(create("alice", &[], i64::MAX))
        .response
        .delegation_token;
    let token = token.expect("a token");
    assert_eq!((token.expiry_ms, token.max_ms), (1_300, i64::MAX));
}

#[test]
fn without_the_secret_there_are_no_tokens() {
    for settings in [vec![], vec![(SECRET.0, "")]] {
        let mut fleet = Fleet::empty("1");
        fleet.settings = settings;
        for asked in [
            create("alice", &[], -1),
            renew(&[1; 64], "alice", -1),
            expire(&[1; 64], "alice", -1),
        ] {
            assert_eq!(
                fleet.show(asked),
                [
                    "TokensDisabled: there are no delegation tokens: set `delegation.token.secret.key` to a secret, the same on all brokers"
                ]
            );
        }
    }
}

#[test]
fn token_that_cannot_be_is_refused() {
    let mut fleet = fleet();
    let long = "x".repeat(1_025);
    for asked in [create("", &[], -1), create("alice", &[&long], -1)] {
        assert_eq!(
            fleet.show(asked),
            ["InvalidRequest: a user's name has 1 to 1024 bytes"]
        );
    }
    assert_eq!(
        fleet.show(create("alice", &["bob"; 1_001], -1)),
        ["InvalidRequest: 1001 renewers; a token has 1000 at most"]
    );
}

#[test]
fn owner_and_renewers_renew_up_to_the_end() {
    let mut fleet = fleet();
    let hmac = made(&mut fleet, "alice", &["bob"], -1);
    fleet.now_ms += DAY;
    assert_eq!(ends(&mut fleet, renew(&hmac, "alice", -1)), Ok(1_000 + 2 * DAY));
    assert_eq!(ends(&mut fleet, renew(&hmac, "bob", 500)), Ok(1_500 + DAY));
    fleet.now_ms += 500;
    assert_eq!(
        ends(&mut fleet, renew(&hmac, "alice", i64::MAX)),
        Ok(1_500 + 2 * DAY)
    );
    for day in 2..=7 {
        fleet.now_ms = 1_000 + day * DAY;
        let end = (1_000 + (day + 1) * DAY).min(1_000 + 7 * DAY);
        assert_eq!(ends(&mut fleet, renew(&hmac, "alice", 0)), Ok(end));
    }
    fleet.now_ms += 1;
    assert_eq!(
        fleet.show(renew(&hmac, "alice", -1)),
        [format!(
            "TokenExpired: delegation token `{}` has expired",
            Uuid([1; 16])
        )]
    );
}

#[test]
fn nobody_else_renews_or_ends_a_token_nor_does_anybody_one_that_is_none() {
    let mut fleet = fleet();
    let hmac = made(&mut fleet, "alice", &["bob"], -1);
    // Who asked for it for another has no say in it afterwards.
    for who in ["admin", "carol"] {
        let refused = Err(Refusal::TokenOwnerMismatch);
        assert_eq!(ends(&mut fleet, renew(&hmac, who, -1)), refused);
        assert_eq!(ends(&mut fleet, expire(&hmac, who, -1)), refused);
    }
    let none = Err(Refusal::TokenNotFound);
    for other in [&hmac[..63], &[0; 64], b""] {
        assert_eq!(ends(&mut fleet, renew(other, "alice", -1)), none);
        assert_eq!(ends(&mut fleet, expire(other, "alice", -1)), none);
    }
}

#[test]
fn token_ends_when_it_is_told_to() {
    let mut fleet = fleet();
    let hmac = made(&mut fleet, "alice", &["bob"], -1);
    assert_eq!(ends(&mut fleet, expire(&hmac, "bob", 700)), Ok(1_700));
    assert_eq!(
        ends(&mut fleet, expire(&hmac, "alice", i64::MAX)),
        Ok(1_000 + 7 * DAY)
    );
    assert_eq!(ends(&mut fleet, expire(&hmac, "alice", 0)), Ok(1_000));
    fleet.now_ms += 1;
    assert_eq!(
        ends(&mut fleet, expire(&hmac, "alice", 5)),
        Err(Refusal::TokenExpired)
    );
    // At once goes whenever it is asked for.
    assert_eq!(ends(&mut fleet, expire(&hmac, "alice", -1)), Ok(1_001));
    assert_eq!(fleet.image.tokens().count(), 0);
    assert_eq!(
        ends(&mut fleet, expire(&hmac, "alice", -1)),
        Err(Refusal::TokenNotFound)
    );
}

#[test]
fn another_secret_proves_none_of_the_tokens() {
    let mut fleet = fleet();
    let hmac = made(&mut fleet, "alice", &[], -1);
    fleet.settings = vec![(SECRET.0, "another")];
    assert_eq!(
        ends(&mut fleet, renew(&hmac, "alice", -1)),
        Err(Refusal::TokenNotFound)
    );
}

#[test]
fn expired_tokens_are_forgotten_a_part_at_a_time() {
    let mut fleet = fleet();
    fleet.settings.push(("delegation.token.max.lifetime.ms", "10"));
    for id in 0..1_003 {
        let token = Fact::DelegationToken(proto::DelegationToken {
            id: format!("{id:04}"),
            owner: "alice".to_owned(),
            expiry_ms: if id == 7 { 1_000 } else { 999 },
            max_ms: 5_000,
            ..proto::DelegationToken::default()
        });
        fleet.image.fold(&Record { record: Some(token) }).unwrap();
    }
    let sweep = || Asked::RemoveExpiredTokens(proto::RemoveExpiredTokens {});
    assert_eq!(fleet.ask(sweep()).records.len(), 1_000);
    assert_eq!(fleet.ask(sweep()).records.len(), 2);
    assert_eq!(fleet.ask(sweep()).records.len(), 0);
    let left: Vec<_> = fleet.image.tokens().map(|token| token.id.as_str()).collect();
    assert_eq!(left, ["0007"]);
}

#[test]
fn tokens_of_a_user_go_with_its_resource() {
    let mut fleet = fleet();
    made(&mut fleet, "alice", &[], -1);
    made(&mut fleet, "bob", &["alice"], -1);
    let user = Fact::User(crate::metadata::User {
        name: "alice".to_owned(),
        authentication: "mtls".to_owned(),
        ..Default::default()
    });
    fleet.image.fold(&Record { record: Some(user) }).unwrap();
    fleet.ask(Asked::DeleteUser(proto::DeleteUser {
        name: "alice".to_owned(),
        owner: None,
    }));
    let left: Vec<_> = fleet.image.tokens().map(|token| token.owner.as_str()).collect();
    assert_eq!(left, ["bob"]);
}
