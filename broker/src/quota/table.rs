//! Which quota binds a client.

use super::Kind;
use crate::metadata::QuotaKey;
use std::collections::BTreeMap;

/// The clients that use up a quota together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharer {
    /// One user; none where it does not matter who it is.
    pub user: Option<String>,
    /// One client id; none where all of the user's count together.
    pub client_id: Option<String>,
}

/// A quota as it binds one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// In the unit of its kind.
    pub limit: f64,
    /// Who it is used up with.
    pub sharer: Sharer,
}

/// What is set for one entity.
#[derive(Clone, Debug, Default, PartialEq)]
struct Values([Option<f64>; Kind::ALL.len()]);

/// A user, all users that have no quota of their own, or, without one of its own, everybody.
#[derive(Clone, Debug, Default, PartialEq)]
struct User {
    clients: BTreeMap<String, Values>,
    default_client: Values,
    own: Values,
}

/// All quotas, in the order in which they are looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    users: BTreeMap<String, User>,
    default_user: User,
    anybody: User,
}

impl Table {
    /// Of the quotas as the metadata has them. Quotas of addresses are passed over.
    #[must_use]
    pub fn new<'a>(quotas: impl Iterator<Item = (&'a QuotaKey, &'a BTreeMap<String, f64>)>) -> Self {
        let mut table = Self::default();
        for (entity, values) in quotas {
            let user = match entity.get("user") {
                Some(Some(name)) => table.users.entry(name.clone()).or_default(),
                Some(None) => &mut table.default_user,
                None => &mut table.anybody,
            };
            let set = match entity.get("client-id") {
                Some(Some(name)) => user.clients.entry(name.clone()).or_default(),
                Some(None) => &mut user.default_client,
                None => &mut user.own,
            };
            for (place, kind) in Kind::ALL.iter().enumerate() {
                if let Some(value) = values.get(kind.name()) {
                    set.0[place] = Some(*value);
                }
            }
        }
        table
    }

    /// The quota of a client. The user's come before those of all users, these before those of client ids alone; and of each, that of the client id
    /// before that of all client ids, before that of the user as a whole (KIP-55).
    #[must_use]
    pub fn bound(&self, kind: Kind, user: &str, client_id: &str) -> Option<Bound> {
        let levels = [
            (self.users.get(user), true),
            (Some(&self.default_user), true),
            (Some(&self.anybody), false),
        ];
        levels.into_iter().find_map(|(level, is_of_user)| {
            let level = level?;
            let of = |values: &Values| values.0[kind as usize];
            let of_client = level.clients.get(client_id).and_then(of);
            let sharer = |client_id: Option<&str>| Sharer {
                user: is_of_user.then(|| user.to_owned()),
                client_id: client_id.map(str::to_owned),
            };
            match of_client.or_else(|| of(&level.default_client)) {
                Some(limit) => Some(Bound {
                    limit,
                    sharer: sharer(Some(client_id)),
                }),
                None => of(&level.own).map(|limit| Bound {
                    limit,
                    sharer: sharer(None),
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> QuotaKey {
        let part = |kind: &str, name: Option<Option<&str>>| {
            name.map(|name| (kind.to_owned(), name.map(str::to_owned)))
        };
        [part("user", user), part("client-id", client_id)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn table(quotas: &[(QuotaKey, f64)]) -> Table {
        let quotas: Vec<_> = quotas
            .iter()
            .map(|(key, limit)| {
                (
                    key.clone(),
                    BTreeMap::from([("producer_byte_rate".to_owned(), *limit)]),
                )
            })
            .collect();
        Table::new(quotas.iter().map(|(key, values)| (key, values)))
    }

    fn sharer(user: Option<&str>, client_id: Option<&str>) -> Sharer {
        Sharer {
            user: user.map(str::to_owned),
            client_id: client_id.map(str::to_owned),
        }
    }

    /// Kafka's order, the first that is there wins.
    #[test]
    fn quotas_have_kafkas_precedence() {
        let levels = [
            (
                key(Some(Some("ann")), Some(Some("app"))),
                sharer(Some("ann"), Some("app")),
            ),
            (
                key(Some(Some("ann")), Some(None)),
                sharer(Some("ann"), Some("app")),
            ),
            (key(Some(Some("ann")), None), sharer(Some("ann"), None)),
            (
                key(Some(None), Some(Some("app"))),
                sharer(Some("ann"), Some("app")),
            ),
            (key(Some(None), Some(None)), sharer(Some("ann"), Some("app"))),
            (key(Some(None), None), sharer(Some("ann"), None)),
            (key(None, Some(Some("app"))), sharer(None, Some("app"))),
            (key(None, Some(None)), sharer(None, Some("app"))),
        ];
        for first in 0..levels.len() {
            let there: Vec<_> = (first..levels.len())
                .map(|level| (levels[level].0.clone(), level as f64))
                .collect();
            let bound = table(&there).bound(Kind::Produce, "ann", "app");
            assert_eq!(
                bound,
                Some(Bound {
                    limit: first as f64,
                    sharer: levels[first].1.clone(),
                })
            );
        }
        assert_eq!(table(&[]).bound(Kind::Produce, "ann", "app"), None);
    }

    #[test]
    fn quota_of_another_kind_or_client_does_not_bind() {
        let table = table(&[
            (key(Some(Some("ann")), Some(Some("app"))), 1.0),
            (key(None, Some(None)), 2.0),
        ]);
        let limit = |kind, user, client| table.bound(kind, user, client).map(|bound| bound.limit);
        assert_eq!(limit(Kind::Produce, "ann", "app"), Some(1.0));
        assert_eq!(limit(Kind::Produce, "ann", "other"), Some(2.0));
        assert_eq!(limit(Kind::Produce, "bob", "app"), Some(2.0));
        assert_eq!(limit(Kind::Fetch, "ann", "app"), None);
    }

    #[test]
    fn quota_of_an_address_binds_nobody_here() {
        let entity = QuotaKey::from([("ip".to_owned(), None)]);
        let values = BTreeMap::from([("connection_creation_rate".to_owned(), 1.0)]);
        let table = Table::new([(&entity, &values)].into_iter());
        for kind in Kind::ALL {
            assert_eq!(table.bound(kind, "ann", "app"), None);
        }
    }
}
