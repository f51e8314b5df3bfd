//! One client that asked what to push: what it was told, and when it came.

use super::client::Client;
use super::instances::Refusal;
use super::subscription::Selected;

/// Times are milliseconds of a clock that never goes back; none: never.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub client: Client,
    pub selected: Selected,
    pub subscription_id: i32,
    /// Of the subscriptions that it was selected by.
    pub version: u64,
    /// The connection that it came over first.
    pub connection: u64,
    /// Its last push was to be its last.
    pub terminating: bool,
    /// Why its last request was refused, if it was.
    pub refused: Option<Refusal>,
    pub expires_ms: i64,
    /// Counted up with each request of any client: who has the least was not heard of for longest.
    pub used: u64,
    got_ms: Option<i64>,
    pushed_ms: Option<i64>,
}

impl Instance {
    pub(super) fn new(client: Client, selected: Selected, version: u64, connection: u64) -> Self {
        Self {
            subscription_id: selected.id(client.instance_id),
            client,
            selected,
            version,
            connection,
            terminating: false,
            refused: None,
            expires_ms: i64::MIN,
            used: 0,
            got_ms: None,
            pushed_ms: None,
        }
    }

    fn has_waited_since(&self, last_ms: Option<i64>, now_ms: i64) -> bool {
        last_ms.is_none_or(|last| now_ms - last >= self.selected.interval_ms)
    }

    /// Whether it is time to ask again: an interval after anything that was answered. A question that comes in time counts.
    pub(super) fn may_get(&mut self, now_ms: i64) -> bool {
        let may = self.has_waited_since(self.got_ms.max(self.pushed_ms), now_ms);
        if may {
            self.got_ms = Some(now_ms);
        }
        may
    }

    /// Whether it is time to push: an interval after the last push, and the first time after a question at any time, because clients spread their
    /// first push over half an interval to one and a half. A push that comes in time counts.
    pub(super) fn may_push(&mut self, now_ms: i64) -> bool {
        let may = self.got_ms > self.pushed_ms || self.has_waited_since(self.pushed_ms, now_ms);
        if may {
            self.pushed_ms = Some(now_ms);
        }
        may
    }
}
