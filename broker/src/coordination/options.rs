//! What the controller goes by, and how it decides with it.

use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::Request;
use flotilla_protocol::{BrokerId, Uuid};

use crate::metadata::{Context, Decision, Image, decide};

/// `leader.imbalance.check.interval.seconds` where nobody says otherwise, as in Kafka.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(300);

/// `delegation.token.expiry.check.interval.ms` where nobody says otherwise, as in Kafka.
const TOKEN_CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// A broker setting as a broker's own file says it, if it does.
pub type StaticSettings = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the controller goes by.
#[derive(Clone)]
pub struct Options {
    /// `broker.session.timeout.ms`: a broker silent for longer is fenced.
    pub session_timeout: Duration,
    /// A broker setting as this broker's own file says it, if it does.
    pub settings: StaticSettings,
    /// Reads the wall clock, in milliseconds since 1970.
    pub now_ms: fn() -> i64,
    /// Draws an id that nothing else has.
    pub fresh_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("session_timeout", &self.session_timeout)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Decides a request on an image, for an entry that will stand at `index` or after.
    pub(super) fn decide(
        &self,
        image: &Image,
        request: &Request,
        index: u64,
        voters: &[BrokerId],
    ) -> Decision {
        let mut context = Context {
            now_ms: (self.now_ms)(),
            index,
            settings: self.settings.as_ref(),
            voters,
            fresh_id: &mut || (self.fresh_id)(),
        };
        decide(image, request, &mut context)
    }

    /// How often leadership goes back to the preferred leaders; `None`: never.
    pub(super) fn rebalance_interval(&self, image: &Image) -> Option<Duration> {
        let setting = |key: &str| self.setting(image, key);
        if setting("auto.leader.rebalance.enable").as_deref() == Some("false") {
            return None;
        }
        let seconds =
            setting("leader.imbalance.check.interval.seconds").and_then(|value| value.trim().parse().ok());
        Some(seconds.map_or(REBALANCE_INTERVAL, Duration::from_secs))
    }

    /// How often expired delegation tokens are looked for.
    pub(super) fn token_check_interval(&self, image: &Image) -> Duration {
        let ms = self
            .setting(image, "delegation.token.expiry.check.interval.ms")
            .and_then(|value| value.trim().parse().ok());
        ms.map_or(TOKEN_CHECK_INTERVAL, Duration::from_millis)
    }

    /// What a setting is set to for all brokers while they run, else in this broker's file.
    fn setting(&self, image: &Image, key: &str) -> Option<String> {
        image
            .cluster_setting(key)
            .map(str::to_owned)
            .or_else(|| (self.settings)(key))
    }
}
