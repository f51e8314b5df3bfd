//! What was written, so that the same is not written again. It forgets what has not been asked about for a while, so that it is bounded by the
//! objects that there are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

use super::Subject;
use super::compare::{digest, own_part};

/// Longer than the slow resync: what is alive is asked about within it.
const KEPT: Duration = Duration::from_secs(30 * 60);
/// How often what is old is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5 * 60);
/// An event that says the same is said again after this.
const NEWS_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Events remembered. At the limit all are forgotten, and some may be said twice.
const NEWS_MAX: usize = 4_096;

/// An object, as kind, namespace and name.
type Name = (String, String, String);

#[derive(Default)]
pub(super) struct Memory {
    applied: BTreeMap<Name, Applied>,
    statuses: BTreeMap<Name, Reported>,
    news: BTreeMap<String, Instant>,
    swept: Option<Instant>,
}

struct Applied {
    uid: Value,
    desired: String,
    /// What the API server made of it: the digest of the part that was asked for.
    own_part: String,
    version: Option<u64>,
    used: Instant,
}

struct Reported {
    version: u64,
    status: String,
    used: Instant,
}

impl Memory {
    /// Whether `live` is what the API server made of the same wish: it may write a value in its own way. Or else `live` is older than the
    /// answer to that wish.
    pub(super) fn applied_already(
        &mut self,
        subject: &Subject,
        wanted: &str,
        desired: &Value,
        live: &Value,
    ) -> bool {
        let Some(applied) = self.applied.get_mut(&name(subject)) else {
            return false;
        };
        applied.used = Instant::now();
        let metadata = &live["metadata"];
        if applied.uid != metadata["uid"] || applied.desired != wanted {
            return false;
        }
        let stale = older(version(metadata["resourceVersion"].as_str()), applied.version);
        stale || applied.own_part == digest(&own_part(desired, live))
    }

    pub(super) fn applied(&mut self, subject: &Subject, wanted: String, desired: &Value, live: &Value) {
        self.sweep();
        self.applied.insert(
            name(subject),
            Applied {
                uid: live["metadata"]["uid"].clone(),
                desired: wanted,
                own_part: digest(&own_part(desired, live)),
                version: version(live["metadata"]["resourceVersion"].as_str()),
                used: Instant::now(),
            },
        );
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        self.applied.remove(&name(subject));
    }

    /// Whether this status was written after the object was read at this version. Times are left out: a status that differs in its times
    /// alone was computed from the older one.
    pub(super) fn reported_already(
        &mut self,
        subject: &Subject,
        version: Option<&str>,
        status: &Value,
    ) -> bool {
        let name = name(subject);
        let Some(reported) = self.statuses.get(&name) else {
            return false;
        };
        if older(self::version(version), Some(reported.version)) {
            return reported.status == digest(&timeless(status));
        }
        self.statuses.remove(&name);
        false
    }

    pub(super) fn reported(&mut self, subject: &Subject, version: Option<&str>, status: &Value) {
        self.sweep();
        if let Some(version) = self::version(version) {
            let reported = Reported {
                version,
                status: digest(&timeless(status)),
                used: Instant::now(),
            };
            self.statuses.insert(name(subject), reported);
        }
    }

    /// Whether an event says something that was not said lately.
    pub(super) fn news(
        &mut self,
        about: &ObjectReference,
        reason: &str,
        action: &str,
        message: &str,
    ) -> bool {
        let now = Instant::now();
        let said = serde_json::json!([
            about.uid,
            about.kind,
            about.namespace,
            about.name,
            reason,
            action,
            message
        ]);
        let said = digest(&said);
        if self.news.get(&said).is_some_and(|when| now - *when < NEWS_AGAIN) {
            return false;
        }
        if self.news.len() >= NEWS_MAX {
            self.news.retain(|_, when| now - *when < NEWS_AGAIN);
        }
        if self.news.len() >= NEWS_MAX {
            self.news.clear();
        }
        self.news.insert(said, now);
        true
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now - swept < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.applied.retain(|_, applied| now - applied.used < KEPT);
        self.statuses
            .retain(|_, reported| now - reported.used < SWEEP_EVERY);
    }
}

fn name(subject: &Subject) -> Name {
    (
        subject.resource.kind.clone(),
        subject.namespace.clone(),
        subject.name.clone(),
    )
}

/// Versions of one resource grow, and since Kubernetes 1.35 that may be relied on.
fn version(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

fn older(read: Option<u64>, written: Option<u64>) -> bool {
    matches!((read, written), (Some(read), Some(written)) if read < written)
}

fn timeless(status: &Value) -> Value {
    match status {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| name.as_str() != "lastTransitionTime")
                .map(|(name, value)| (name.clone(), timeless(value)))
                .collect(),
        ),
        Value::Array(elements) => elements.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::subject;
    use super::*;

    fn at(version: &str, cpu: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "b", "uid": "u", "resourceVersion": version},
            "cpu": cpu,
        })
    }

    #[test]
    fn value_that_the_api_server_writes_its_own_way_is_not_applied_twice() {
        let mut memory = Memory::default();
        let (desired, live) = (at("7", "1000m"), at("7", "1"));
        let subject = subject(&live).unwrap();
        let already = |memory: &mut Memory, wanted, live: &Value| {
            let mut desired = desired.clone();
            desired["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("resourceVersion");
            if wanted == "learn" {
                memory.applied(&subject, "wish".into(), &desired, live);
                return true;
            }
            memory.applied_already(&subject, wanted, &desired, live)
        };
        assert!(!already(&mut memory, "wish", &live));
        already(&mut memory, "learn", &live);
        assert!(already(&mut memory, "wish", &live));
        assert!(
            already(&mut memory, "wish", &at("9", "1")),
            "others may write other fields"
        );
        assert!(
            !already(&mut memory, "wish", &at("9", "2")),
            "somebody changed it"
        );
        assert!(
            already(&mut memory, "wish", &at("6", "2")),
            "read before it was applied"
        );
        assert!(!already(&mut memory, "another wish", &live));
        let mut successor = live.clone();
        successor["metadata"]["uid"] = "v".into();
        assert!(!already(&mut memory, "wish", &successor));
    }

    #[test]
    fn status_is_not_written_again_from_an_object_read_before() {
        let mut memory = Memory::default();
        let subject = subject(&at("1", "")).unwrap();
        let status = |time: &str| json!({"conditions": [{"type": "Ready", "lastTransitionTime": time}]});
        assert!(!memory.reported_already(&subject, Some("5"), &status("1")));
        memory.reported(&subject, Some("6"), &status("1"));
        assert!(memory.reported_already(&subject, Some("5"), &status("2")));
        assert!(!memory.reported_already(&subject, Some("5"), &json!({"other": 1})));
        assert!(
            !memory.reported_already(&subject, Some("6"), &status("2")),
            "now what was read counts"
        );
    }

    #[test]
    fn events_are_news_once_and_memory_of_them_is_bounded() {
        let mut memory = Memory::default();
        let about = ObjectReference {
            uid: Some("u".into()),
            ..ObjectReference::default()
        };
        assert!(memory.news(&about, "Rolling", "Restart", "broker 1"));
        assert!(!memory.news(&about, "Rolling", "Restart", "broker 1"));
        assert!(memory.news(&about, "Rolling", "Restart", "broker 2"));
        for number in 0..NEWS_MAX {
            memory.news(&about, "Rolling", "Restart", &number.to_string());
        }
        assert!(memory.news.len() <= NEWS_MAX);
    }
}
