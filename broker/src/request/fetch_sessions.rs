//! The fetch sessions of this broker (KIP-227): from a fetch that says what is different to one that says everything, and from an answer that says
//! everything to one that says what is news.

use super::Context;
use crate::auth::Principal;
use crate::fetch_session::{Cache, Candidate, FINAL_EPOCH, INITIAL_EPOCH, NO_SESSION, Refusal, Session};
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::fetch_request::FetchTopic;
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// The first version with sessions.
const SESSIONS_VERSION: i16 = 7;
/// The first version that names topics by their ids.
const TOPIC_IDS_VERSION: i16 = 13;
/// The partitions that all sessions have together: some 200 MB. A session for which there is no room is not kept, which costs its owner bytes on the
/// wire and nothing else.
const PARTITIONS_MAX: usize = 1_000_000;

/// All sessions of a broker.
pub struct FetchSessions {
    cache: Mutex<Cache<Kept>>,
    /// Ages of sessions count from here.
    began: Instant,
}

/// A session, and whose it is: nobody else can use it or end it.
#[derive(Clone)]
struct Kept {
    owner: Principal,
    is_follower: bool,
    session: Arc<Mutex<Session>>,
}

/// Where a fetch belongs.
pub(super) enum Place {
    /// To no session.
    Sessionless,
    /// To one that begins with its answer.
    First {
        /// What it asks for.
        asked: Vec<FetchTopic>,
    },
    /// To one that goes on.
    Next {
        id: i32,
        epoch: i32,
        session: Arc<Mutex<Session>>,
    },
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Those that had to go for others, since the start.
    pub evictions: u64,
}

impl FetchSessions {
    /// None yet, and never more than `slots_max`.
    #[must_use]
    pub fn new(slots_max: i32) -> Self {
        let slots_max = usize::try_from(slots_max).unwrap_or(0);
        Self {
            cache: Mutex::new(Cache::new(slots_max, PARTITIONS_MAX)),
            began: Instant::now(),
        }
    }

    /// Forgets all of them, as if there had been no room.
    #[cfg(test)]
    pub(crate) fn lose_all(&self) {
        let mut cache = self.cache.lock();
        *cache = Cache::new(cache.slots_max(), PARTITIONS_MAX);
    }

    /// How many there are now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let cache = self.cache.lock();
        Counts {
            sessions: cache.len(),
            partitions: cache.partitions(),
            evictions: cache.evictions(),
        }
    }

    /// Finds the session of a fetch, and has the request name all that is fetched.
    ///
    /// # Errors
    /// Kafka's code, where the session is not as the fetch takes it to be. Its owner begins anew.
    pub(super) fn begin(
        &self,
        ctx: &Context,
        is_follower: bool,
        request: &mut FetchRequest,
    ) -> Result<Place, ErrorCode> {
        if ctx.version < SESSIONS_VERSION {
            return Ok(Place::Sessionless);
        }
        let (id, epoch) = (request.session_id, request.session_epoch);
        let is_ours = |kept: &Kept| kept.owner == ctx.session.principal && kept.is_follower == is_follower;
        if [INITIAL_EPOCH, FINAL_EPOCH].contains(&epoch) {
            let mut cache = self.cache.lock();
            if id != NO_SESSION && cache.get(id).is_some_and(is_ours) {
                cache.remove(id);
            }
            return Ok(if epoch == FINAL_EPOCH {
                Place::Sessionless
            } else {
                let asked = request.topics.clone();
                Place::First { asked }
            });
        }
        let kept = self.cache.lock().get(id).filter(|kept| is_ours(kept)).cloned();
        let session = kept.ok_or(ErrorCode::FetchSessionIdNotFound)?.session;
        let size = {
            let mut session = session.lock();
            let names_ids = ctx.version >= TOPIC_IDS_VERSION;
            session
                .begin(epoch, names_ids, &request.topics, &request.forgotten_topics_data)
                .map_err(code_of)?;
            request.topics = session.topics();
            session.len()
        };
        let mut cache = self.cache.lock();
        if size == 0 {
            cache.remove(id);
            return Ok(Place::Sessionless);
        }
        if !cache.touch(id, size, self.now_ms()) {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(Place::Next { id, epoch, session })
    }

    /// Leaves in the answer what its session calls for, and begins the session that a first fetch wanted.
    pub(super) fn finish(
        &self,
        ctx: &Context,
        is_follower: bool,
        place: Place,
        mut response: FetchResponse,
    ) -> FetchResponse {
        match place {
            Place::Sessionless => response,
            Place::First { asked } => {
                let names_ids = ctx.version >= TOPIC_IDS_VERSION;
                let session = Session::new(names_ids, &asked, &response.responses);
                response.session_id = self.keep(ctx, is_follower, session);
                response
            }
            Place::Next { id, epoch, session } => {
                response.session_id = id;
                match session.lock().keep_news(epoch, &mut response.responses) {
                    Ok(()) => response,
                    Err(refusal) => refused(id, refusal),
                }
            }
        }
    }

    /// The answer of a client that is held back: nothing, and its session goes on as it was.
    pub(super) fn finish_empty(&self, place: Place) -> FetchResponse {
        let Place::Next { id, epoch, session } = place else {
            return FetchResponse::default();
        };
        match session.lock().answers(epoch) {
            Ok(()) => FetchResponse {
                session_id: id,
                ..FetchResponse::default()
            },
            Err(refusal) => refused(id, refusal),
        }
    }

    /// The id of the session from now on, or that of none.
    fn keep(&self, ctx: &Context, is_follower: bool, session: Session) -> i32 {
        let candidate = Candidate {
            is_privileged: is_follower,
            size: session.len(),
        };
        let kept = Kept {
            owner: ctx.session.principal.clone(),
            is_follower,
            session: Arc::new(Mutex::new(session)),
        };
        let mut cache = self.cache.lock();
        let id = loop {
            let id = random_id();
            if id != NO_SESSION && cache.get(id).is_none() {
                break id;
            }
        };
        if cache.admit(id, candidate, kept, self.now_ms()) {
            id
        } else {
            NO_SESSION
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// At least 0.
fn random_id() -> i32 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    i32::from_be_bytes([a & 0x7f, b, c, d])
}

fn code_of(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        Refusal::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

fn refused(id: i32, refusal: Refusal) -> FetchResponse {
    FetchResponse {
        error_code: code_of(refusal).into(),
        session_id: id,
        ..FetchResponse::default()
    }
}
