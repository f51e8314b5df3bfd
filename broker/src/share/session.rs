//! Share sessions: what a member fetches need not be said again (KIP-932).
//!
//! A session belongs to a member of a group and to the connection that it was opened on. It has an epoch that each request
//! must carry, so that one that comes twice, or too late, changes nothing. When it ends, all that the member holds here is
//! released.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use crate::group::Text;

/// With this epoch a session is opened.
pub const OPEN: i32 = 0;
/// With this epoch it is closed.
pub const CLOSE: i32 = -1;

/// A partition, by the id of its topic.
pub type Partition = (Uuid, i32);

/// Whose session.
pub type Key = (Text, Text);

/// Why a request is not of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefused {
    /// There is none of that member.
    #[error("there is no share session of this member: open one with epoch 0")]
    NotFound,
    /// The request is not the next one of the session.
    #[error("the epoch of the share session is not the next one")]
    InvalidEpoch,
    /// `group.share.max.share.sessions` is reached.
    #[error("this broker has as many share sessions as group.share.max.share.sessions allows")]
    LimitReached,
}

/// A request that is of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// All partitions of the session, beginning with another one each time, so that each comes first in turn.
    pub partitions: Vec<Partition>,
    /// Those that the session had and has no more.
    pub dropped: Vec<Partition>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    connection: u64,
    partitions: BTreeSet<Partition>,
    /// Its last request has come, and is being worked on: until then deliveries that it fetches from stay.
    is_closing: bool,
}

/// The sessions of a broker.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<Key, Session>,
}

impl Sessions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A fetch that says which partitions come and which go. One that closes the session fetches nothing.
    ///
    /// # Errors
    /// [`SessionRefused`]; the session is as it was.
    pub fn fetch(
        &mut self,
        key: &Key,
        epoch: i32,
        connection: u64,
        (added, forgotten): (&[Partition], &[Partition]),
        sessions_max: usize,
    ) -> Result<Opened, SessionRefused> {
        if epoch == CLOSE {
            return self.close(key);
        }
        if epoch == OPEN {
            let before = self.sessions.get(key);
            if before.is_none() && self.sessions.len() >= sessions_max {
                return Err(SessionRefused::LimitReached);
            }
            let partitions: BTreeSet<Partition> = added.iter().copied().collect();
            let former = before.map(|before| &before.partitions);
            let dropped = former
                .into_iter()
                .flatten()
                .filter(|of| !partitions.contains(*of));
            let dropped = dropped.copied().collect();
            let session = Session {
                epoch: next(OPEN),
                connection,
                partitions,
                is_closing: false,
            };
            let partitions = in_turn(&session);
            self.sessions.insert(key.clone(), session);
            return Ok(Opened { partitions, dropped });
        }
        let session = self.go_on(key, epoch)?;
        session.connection = connection;
        session.partitions.extend(added);
        let mut dropped = Vec::new();
        for partition in forgotten {
            if session.partitions.remove(partition) {
                dropped.push(*partition);
            }
        }
        Ok(Opened {
            partitions: in_turn(session),
            dropped,
        })
    }

    /// A request that only acknowledges. Gives what the session had, if this closes it.
    ///
    /// # Errors
    /// [`SessionRefused`]; the session is as it was.
    pub fn acknowledge(&mut self, key: &Key, epoch: i32) -> Result<Opened, SessionRefused> {
        match epoch {
            CLOSE => self.close(key),
            OPEN => Err(SessionRefused::InvalidEpoch),
            _ => self.go_on(key, epoch).map(|_| Opened::default()),
        }
    }

    fn go_on(&mut self, key: &Key, epoch: i32) -> Result<&mut Session, SessionRefused> {
        let session = self.open(key)?;
        if session.epoch != epoch {
            return Err(SessionRefused::InvalidEpoch);
        }
        session.epoch = next(epoch);
        Ok(session)
    }

    fn open(&mut self, key: &Key) -> Result<&mut Session, SessionRefused> {
        let session = self.sessions.get_mut(key).filter(|session| !session.is_closing);
        session.ok_or(SessionRefused::NotFound)
    }

    fn close(&mut self, key: &Key) -> Result<Opened, SessionRefused> {
        let session = self.open(key)?;
        session.is_closing = true;
        Ok(Opened {
            partitions: Vec::new(),
            dropped: session.partitions.iter().copied().collect(),
        })
    }

    /// What the last request of a session said is done: the session goes, unless it was opened anew.
    pub fn closed(&mut self, key: &Key) {
        if self.sessions.get(key).is_some_and(|session| session.is_closing) {
            self.sessions.remove(key);
        }
    }

    /// Whether a member of the group fetches from the partition.
    #[must_use]
    pub fn is_fetched(&self, group: &Text, partition: Partition) -> bool {
        let from: Key = (group.clone(), "".into());
        let mut of_group = self.sessions.range(from..).take_while(|((of, _), _)| of == group);
        of_group.any(|(_, session)| session.partitions.contains(&partition))
    }

    /// A connection has ended: its sessions go. Gives whose they were, and what they had.
    pub fn disconnected(&mut self, connection: u64) -> Vec<(Key, Vec<Partition>)> {
        let gone = self
            .sessions
            .extract_if(.., |_, session| session.connection == connection);
        gone.map(|(key, session)| (key, session.partitions.into_iter().collect()))
            .collect()
    }
}

/// After the largest epoch comes 1: 0 opens.
fn next(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

fn in_turn(session: &Session) -> Vec<Partition> {
    let mut partitions: Vec<Partition> = session.partitions.iter().copied().collect();
    if !partitions.is_empty() {
        let places = session.epoch.unsigned_abs() as usize % partitions.len();
        partitions.rotate_left(places);
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid([1; 16]);

    fn key(member: &str) -> Key {
        ("g".into(), member.into())
    }

    fn sorted(mut opened: Opened) -> Opened {
        opened.partitions.sort_unstable();
        opened
    }

    #[test]
    fn session_is_carried_on_by_its_epochs_and_closed_by_the_last() {
        let mut sessions = Sessions::default();
        let me = key("m");
        assert_eq!(
            sessions.fetch(&me, 1, 7, (&[], &[]), 2),
            Err(SessionRefused::NotFound)
        );
        let opened = sessions.fetch(&me, OPEN, 7, (&[(TOPIC, 0), (TOPIC, 1)], &[]), 2);
        assert_eq!(sorted(opened.unwrap()).partitions, [(TOPIC, 0), (TOPIC, 1)]);
        let next = sessions.fetch(&me, 1, 7, (&[(TOPIC, 2)], &[(TOPIC, 0), (TOPIC, 9)]), 2);
        assert_eq!(
            sorted(next.unwrap()),
            Opened {
                partitions: vec![(TOPIC, 1), (TOPIC, 2)],
                dropped: vec![(TOPIC, 0)],
            }
        );
        for epoch in [1, 3] {
            assert_eq!(
                sessions.fetch(&me, epoch, 7, (&[], &[]), 2),
                Err(SessionRefused::InvalidEpoch)
            );
        }
        assert_eq!(sessions.acknowledge(&me, OPEN), Err(SessionRefused::InvalidEpoch));
        assert_eq!(sessions.acknowledge(&me, 2), Ok(Opened::default()));
        let closed = sessions.acknowledge(&me, CLOSE).unwrap();
        assert_eq!(closed.dropped, [(TOPIC, 1), (TOPIC, 2)]);
        for epoch in [3, CLOSE] {
            assert_eq!(sessions.acknowledge(&me, epoch), Err(SessionRefused::NotFound));
        }
    }

    #[test]
    fn what_is_fetched_stays_until_the_last_words_of_the_session_are_done() {
        let mut sessions = Sessions::default();
        let me = key("m");
        let fetched = |sessions: &Sessions| sessions.is_fetched(&me.0, (TOPIC, 0));
        sessions.fetch(&me, OPEN, 7, (&[(TOPIC, 0)], &[]), 1).unwrap();
        sessions.closed(&me);
        assert!(fetched(&sessions));
        sessions.acknowledge(&me, CLOSE).unwrap();
        assert!(fetched(&sessions));
        // Opened anew meanwhile: that one goes on.
        sessions.fetch(&me, OPEN, 7, (&[(TOPIC, 0)], &[]), 1).unwrap();
        sessions.closed(&me);
        assert!(fetched(&sessions));
        sessions.fetch(&me, CLOSE, 7, (&[], &[]), 1).unwrap();
        sessions.closed(&me);
        assert!(!fetched(&sessions));
    }

    #[test]
    fn no_more_sessions_than_allowed_and_none_outlives_its_connection() {
        let mut sessions = Sessions::default();
        let open = |sessions: &mut Sessions, member: &str, connection| {
            sessions.fetch(&key(member), OPEN, connection, (&[(TOPIC, 0)], &[]), 2)
        };
        assert!(open(&mut sessions, "a", 1).is_ok());
        assert!(open(&mut sessions, "b", 2).is_ok());
        assert_eq!(open(&mut sessions, "c", 3), Err(SessionRefused::LimitReached));
        // Opened anew, on another connection: the old one's end does not touch it.
        assert!(open(&mut sessions, "a", 3).is_ok());
        assert_eq!(sessions.disconnected(1), []);
        assert_eq!(sessions.disconnected(3), [(key("a"), vec![(TOPIC, 0)])]);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn each_partition_comes_first_in_turn() {
        let mut sessions = Sessions::default();
        let me = key("m");
        let all = [(TOPIC, 0), (TOPIC, 1), (TOPIC, 2)];
        let mut firsts = BTreeSet::new();
        for epoch in 0..3 {
            let added: &[Partition] = if epoch == 0 { &all } else { &[] };
            let opened = sessions.fetch(&me, epoch, 1, (added, &[]), 1).unwrap();
            firsts.extend(opened.partitions.first().copied());
        }
        assert_eq!(firsts.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn epochs_go_round_without_opening_anew() {
        assert_eq!((next(OPEN), next(i32::MAX)), (1, 1));
    }
}
