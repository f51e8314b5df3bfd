//! The open connections: how many there are, and who has to go because their user is gone.

use crate::auth::scram;
use crate::metadata::{Image, ScramMechanism};
use crate::telemetry::CloseReason;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// By what a connection's user was recognised. When it does not hold any more, the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A client certificate: holds while the user exists and is to be recognised so.
    Certificate,
    /// A password: holds while the user's keys are these.
    Password(scram::Mechanism, Vec<u8>),
    /// A delegation token, by its id: holds until the token is forgotten.
    Token(String),
    /// A token that somebody else signed: holds until the session ends with it.
    Bearer,
}

impl Proof {
    pub(super) fn holds(&self, image: &Image, user: &str) -> bool {
        match self {
            Self::Certificate => image.user(user).is_some_and(|user| user.authentication == "mtls"),
            Self::Password(mechanism, stored_key) => image
                .scram(user, in_metadata(*mechanism))
                .is_some_and(|credential| credential.stored_key == stored_key.as_slice()),
            Self::Bearer => true,
            Self::Token(id) => image.token(id).is_some_and(|token| token.owner == user),
        }
    }
}

/// The same mechanism in the metadata's words.
pub(super) fn in_metadata(mechanism: scram::Mechanism) -> ScramMechanism {
    match mechanism {
        scram::Mechanism::Sha256 => ScramMechanism::ScramSha256,
        scram::Mechanism::Sha512 => ScramMechanism::ScramSha512,
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) from_this_address_max: usize,
}

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    open: BTreeMap<u64, Entry>,
    by_address: BTreeMap<IpAddr, usize>,
    by_user: BTreeMap<Arc<str>, BTreeMap<u64, Proof>>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    user: Option<Arc<str>>,
    close: Option<oneshot::Sender<CloseReason>>,
}

/// A connection's place among the open ones, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Counted from the broker's start.
    pub(super) id: u64,
    registry: Arc<Registry>,
}

impl Registry {
    /// Takes a connection in; none at the limits. The receiver tells it when to end.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limits: Limits,
    ) -> Option<(Ticket, oneshot::Receiver<CloseReason>)> {
        let mut state = self.state.lock();
        let from_there = state.by_address.get(&address).copied().unwrap_or(0);
        if state.open.len() >= limits.connections_max || from_there >= limits.from_this_address_max {
            return None;
        }
        state.last_id += 1;
        let id = state.last_id;
        let (close, closed) = oneshot::channel();
        *state.by_address.entry(address).or_default() += 1;
        state.open.insert(
            id,
            Entry {
                address,
                user: None,
                close: Some(close),
            },
        );
        Some((
            Ticket {
                id,
                registry: self.clone(),
            },
            closed,
        ))
    }

    /// Ends the connections of these users that would not be let in any more: the user is gone, or has other credentials, or the
    /// delegation token is forgotten.
    /// Returns how many.
    pub(super) fn revoke<'a>(&self, image: &Image, users: impl IntoIterator<Item = &'a str>) -> usize {
        let mut state = self.state.lock();
        let mut revoked = Vec::new();
        for user in users {
            let proofs = state.by_user.get(user).into_iter().flatten();
            revoked.extend(
                proofs
                    .filter(|(_, proof)| !proof.holds(image, user))
                    .map(|(id, _)| *id),
            );
        }
        revoked
            .iter()
            .filter(|id| state.close(**id, CloseReason::Revoked))
            .count()
    }

    /// The users that have open connections.
    pub(super) fn users(&self) -> Vec<Arc<str>> {
        self.state.lock().by_user.keys().cloned().collect()
    }

    /// Ends every connection.
    pub(super) fn close_all(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        let ids: Vec<u64> = state.open.keys().copied().collect();
        for id in ids {
            state.close(id, reason);
        }
    }
}

impl State {
    /// Tells a connection to end, once. Whether it had not been told before.
    fn close(&mut self, id: u64, reason: CloseReason) -> bool {
        let close = self.open.get_mut(&id).and_then(|entry| entry.close.take());
        close.is_some_and(|close| close.send(reason).is_ok())
    }

    fn forget_user(&mut self, id: u64) {
        let Some(user) = self.open.get_mut(&id).and_then(|entry| entry.user.take()) else {
            return;
        };
        if let Some(proofs) = self.by_user.get_mut(&user) {
            proofs.remove(&id);
            if proofs.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }
}

impl Ticket {
    /// Remembers who the connection is, and why we believe it. Metadata may have changed since the proof was checked, before
    /// anybody knew that this connection is concerned: it is checked again by what is known now.
    pub(super) fn authenticated(&self, user: &str, proof: Proof, now: impl FnOnce() -> Arc<Image>) {
        {
            let mut state = self.registry.state.lock();
            state.forget_user(self.id);
            let user: Arc<str> = user.into();
            if let Some(entry) = state.open.get_mut(&self.id) {
                entry.user = Some(user.clone());
            }
            state.by_user.entry(user).or_default().insert(self.id, proof);
        }
        self.registry.revoke(&now(), [user]);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.forget_user(self.id);
        let Some(entry) = state.open.remove(&self.id) else {
            return;
        };
        if let Some(count) = state.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&entry.address);
            }
        }
    }
}

/// The limit for one address: `max.connections.per.ip.overrides` (`address:limit, ...`; IPv6 addresses contain colons, the
/// last one counts), else `max.connections.per.ip`.
pub(super) fn limit_of(address: IpAddr, overrides: &str, otherwise: i32) -> usize {
    let own = overrides.split(',').find_map(|entry| {
        let (named, limit) = entry.trim().rsplit_once(':')?;
        let named: IpAddr = named.trim_matches(['[', ']']).parse().ok()?;
        (named == address).then(|| limit.trim().parse().ok()).flatten()
    });
    usize::try_from(own.unwrap_or(otherwise)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Fact, Record, ScramCredential, User, changed_users};
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

    fn image(facts: impl IntoIterator<Item = Fact>) -> Image {
        let mut image = Image::default();
        for fact in facts {
            image
                .fold(&Record { record: Some(fact) })
                .expect("a known record");
        }
        image
    }

    #[test]
    fn limits_count_open_connections_only() {
        let registry = Arc::new(Registry::default());
        let limits = Limits {
            connections_max: 2,
            from_this_address_max: 1,
        };
        let first = registry.admit(HERE, limits).expect("empty");
        assert!(registry.admit(HERE, limits).is_none(), "one per address");
        let _second = registry.admit(THERE, limits).expect("another address");
        assert!(
            registry
                .admit(IpAddr::V4(Ipv4Addr::UNSPECIFIED), limits)
                .is_none(),
            "two in all"
        );
        drop(first);
        assert_eq!(registry.admit(HERE, limits).expect("free again").0.id, 3);
    }

    #[test]
    fn only_connections_whose_proof_is_void_are_ended() {
        let registry = Arc::new(Registry::default());
        let limits = Limits {
            connections_max: 9,
            from_this_address_max: 9,
        };
        let of_alice = |mechanism: ScramMechanism, key: u8| {
            Fact::ScramCredential(ScramCredential {
                user: "alice".into(),
                mechanism: mechanism.into(),
                stored_key: vec![key],
                ..ScramCredential::default()
            })
        };
        let declared = |name: &str, authentication: &str| {
            Fact::User(User {
                name: name.into(),
                authentication: authentication.into(),
                ..User::default()
            })
        };
        let before = image([
            of_alice(ScramMechanism::ScramSha256, 1),
            of_alice(ScramMechanism::ScramSha512, 1),
            declared("bob", "mtls"),
            declared("carol", "mtls"),
        ]);
        let mut open = Vec::new();
        for (user, proof) in [
            ("alice", Proof::Password(scram::Mechanism::Sha256, vec![1])),
            ("alice", Proof::Password(scram::Mechanism::Sha256, vec![2])),
            ("alice", Proof::Password(scram::Mechanism::Sha512, vec![1])),
            ("bob", Proof::Certificate),
            ("carol", Proof::Certificate),
        ] {
            let (ticket, closed) = registry.admit(HERE, limits).expect("room");
            ticket.authenticated(user, proof, || Arc::new(before.clone()));
            open.push((ticket, closed));
        }
        let told = |open: &mut Vec<(Ticket, oneshot::Receiver<CloseReason>)>| -> Vec<bool> {
            open.iter_mut()
                .map(|(_, closed)| closed.try_recv().is_ok())
                .collect()
        };
        assert_eq!(
            told(&mut open),
            [false, true, false, false, false],
            "a proof that became void while it was checked"
        );
        let after = image([
            of_alice(ScramMechanism::ScramSha256, 1),
            declared("bob", "mtls"),
            declared("carol", "scram-sha-512"),
        ]);
        let changed = changed_users(&before, &after);
        assert_eq!(changed.iter().collect::<Vec<_>>(), ["alice", "carol"]);
        let changed = || changed.iter().map(String::as_str);
        assert_eq!(registry.revoke(&after, changed()), 2);
        assert_eq!(registry.revoke(&after, changed()), 0, "they are told once");
        assert_eq!(told(&mut open), [false, false, true, false, true]);
        assert_eq!(registry.users(), ["alice".into(), "bob".into(), "carol".into()]);
    }

    #[test]
    fn addresses_may_have_limits_of_their_own() {
        let overrides = "127.0.0.1:5, ::1:7,bad,10.0.0.1:x";
        assert_eq!(limit_of(HERE, overrides, 3), 5);
        assert_eq!(limit_of("::1".parse().expect("valid"), overrides, 3), 7);
        assert_eq!(limit_of("10.0.0.1".parse().expect("valid"), overrides, 3), 3);
        assert_eq!(limit_of(THERE, "", i32::MAX), i32::MAX as usize);
    }
}
