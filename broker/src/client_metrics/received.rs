//! The last value of each metric that clients pushed, and the totals of what they pushed as growth. What a client brings takes no more than its share of a
//! fixed room, and is forgotten when the client does not bring it any more.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use super::instances::Taken;
use super::names::{self, Shown};
use super::otlp::{Found, Kind, Metrics, Point};
use super::subscription::ALL_METRICS;

/// The most series that a client may have.
const INSTANCE_SERIES_MAX: usize = 2_000;
/// What all series of all clients may take, in bytes, as [`Series::bytes`] reckons.
const BYTES_MAX: usize = 32 << 20;
/// For how many intervals a series is shown that is not pushed any more.
const INTERVALS_SHOWN: i64 = 3;
/// Labels that say whose a series is; attributes with these names are passed over.
const OWN_LABELS: [&str; 2] = ["client_id", "client_instance_id"];

/// Whose push it is.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The client's id.
    pub instance_id: Uuid,
    /// What is known of it.
    pub taken: &'a Taken,
    /// Whether no other push follows.
    pub terminating: bool,
}

/// The series of one metric that clients pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// Its name, without the `_total` of a total.
    pub name: String,
    /// Whether it is a total that only grows.
    pub is_total: bool,
    /// By client and labels.
    pub rows: Vec<Row<'a>>,
}

/// A series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// Whose it is.
    pub instance_id: Uuid,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// The attributes, by name.
    pub labels: &'a [(Box<str>, Box<str>)],
    /// The last one, or what was added up.
    pub value: f64,
}

/// All that clients pushed.
#[derive(Debug, Default)]
pub struct Received {
    clients: BTreeMap<Uuid, Pushed>,
    by_expiry: BTreeSet<(i64, Uuid)>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Pushed {
    client_id: Box<str>,
    expires_ms: i64,
    series: BTreeMap<Series, Last>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    shown: Shown,
    labels: Box<[(Box<str>, Box<str>)]>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    value: f64,
    expires_ms: i64,
}

impl Series {
    /// None where the metric has no name that can be shown.
    fn of(point: Point<'_>) -> Option<Self> {
        let shown = Shown::of(point.name, point.kind)?;
        let mut labels = BTreeMap::new();
        for (key, value) in point.attributes {
            if let Some(name) = names::label(key).filter(|name| !OWN_LABELS.contains(&name.as_ref())) {
                labels.entry(name).or_insert_with(|| names::value(value));
            }
        }
        Some(Self {
            shown,
            labels: labels.into_iter().collect(),
        })
    }

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        const SERIES_BYTES: usize = 128;
        const LABEL_BYTES: usize = 64;
        let labels: usize = self
            .labels
            .iter()
            .map(|(name, value)| LABEL_BYTES + name.len() + value.len())
            .sum();
        SERIES_BYTES + self.shown.family.len() + labels
    }
}

impl Received {
    /// How many values were not kept, since the start: for want of room, or because they are none that can be shown.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many series there are now.
    pub fn series(&mut self, now_ms: i64) -> usize {
        self.expire(now_ms);
        self.clients.values().map(|client| client.series.len()).sum()
    }

    /// Takes over what a client pushes.
    pub fn take(&mut self, origin: Origin<'_>, push: Metrics<'_>, now_ms: i64) {
        self.expire(now_ms);
        let interval_ms = origin.taken.interval_ms;
        let shown_ms = if origin.terminating {
            interval_ms
        } else {
            INTERVALS_SHOWN * interval_ms
        };
        let mut client = self.begin(origin, now_ms + shown_ms, now_ms);
        push.each(&mut |found| {
            let is_asked = |name: &str| {
                let mut asked = origin.taken.metrics.iter();
                asked.any(|prefix| prefix == ALL_METRICS || name.starts_with(prefix.as_str()))
            };
            match found {
                Found::Point(point) if is_asked(point.name) => self.keep(&mut client, point),
                Found::Point(_) | Found::Other => self.dropped += 1,
            }
        });
        if !client.series.is_empty() {
            self.by_expiry.insert((client.expires_ms, origin.instance_id));
            self.clients.insert(origin.instance_id, client);
        }
    }

    /// What there is of a client, taken out, without what it has not brought for long.
    fn begin(&mut self, origin: Origin<'_>, expires_ms: i64, now_ms: i64) -> Pushed {
        let client_id = names::cut(origin.taken.client_id.as_deref().unwrap_or_default());
        let mut client = Pushed {
            client_id: client_id.into(),
            expires_ms,
            series: BTreeMap::new(),
        };
        if let Some(before) = self.clients.remove(&origin.instance_id) {
            self.by_expiry.remove(&(before.expires_ms, origin.instance_id));
            client.series = before.series;
        }
        let bytes = &mut self.bytes;
        client.series.retain(|series, last| {
            let stays = last.expires_ms > now_ms;
            if !stays {
                *bytes -= series.bytes();
            }
            stays
        });
        client
    }

    fn keep(&mut self, client: &mut Pushed, point: Point<'_>) {
        let (kind, value) = match (point.kind, point.value) {
            // What only grows does not shrink, whatever a client says.
            (Kind::Growth, value) if value < 0.0 => (Kind::Growth, 0.0),
            other => other,
        };
        let Some(series) = Series::of(point) else {
            self.dropped += 1;
            return;
        };
        let expires_ms = client.expires_ms;
        if let Some(last) = client.series.get_mut(&series) {
            let is_added = matches!(kind, Kind::Growth | Kind::Change);
            match (value.is_finite(), is_added) {
                (true, true) => last.value += value,
                (true, false) => last.value = value,
                // Java's averages of nothing: there is no value now, and what was is not so any more.
                (false, false) => {
                    self.bytes -= series.bytes();
                    client.series.remove(&series);
                    return;
                }
                (false, true) => {}
            }
            last.expires_ms = expires_ms;
            return;
        }
        if !value.is_finite() {
            return;
        }
        let bytes = series.bytes();
        if client.series.len() >= INSTANCE_SERIES_MAX || self.bytes + bytes > BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        client.series.insert(series, Last { value, expires_ms });
    }

    /// What is to be shown, each name once.
    pub fn families(&mut self, now_ms: i64) -> Vec<Family<'_>> {
        self.expire(now_ms);
        let mut by_name: BTreeMap<&Shown, Vec<Row<'_>>> = BTreeMap::new();
        for (id, client) in &self.clients {
            for (series, last) in &client.series {
                if last.expires_ms > now_ms {
                    by_name.entry(&series.shown).or_default().push(Row {
                        instance_id: *id,
                        client_id: &client.client_id,
                        labels: &series.labels,
                        value: last.value,
                    });
                }
            }
        }
        named_apart(by_name)
    }

    fn expire(&mut self, now_ms: i64) {
        while let Some((expires_ms, id)) = self.by_expiry.first().copied()
            && expires_ms <= now_ms
        {
            self.by_expiry.pop_first();
            if let Some(client) = self.clients.remove(&id) {
                self.bytes -= client.series.keys().map(Series::bytes).sum::<usize>();
            }
        }
    }
}

/// A gauge and a total of one name would be one family on the page: the gauge is called otherwise then.
fn named_apart<'a>(by_name: BTreeMap<&Shown, Vec<Row<'a>>>) -> Vec<Family<'a>> {
    let mut families: BTreeMap<String, Family<'a>> = BTreeMap::new();
    let (totals, gauges): (Vec<_>, Vec<_>) = by_name.into_iter().partition(|(shown, _)| shown.is_total);
    for (shown, rows) in totals.into_iter().chain(gauges) {
        let mut name = shown.family.to_string();
        while families
            .get(&name)
            .is_some_and(|taken| taken.is_total != shown.is_total)
        {
            name.push_str("_gauge");
        }
        let family = families.entry(name.clone()).or_insert_with(|| Family {
            name,
            is_total: shown.is_total,
            rows: Vec::new(),
        });
        family.rows.extend(rows);
    }
    families.into_values().collect()
}

#[cfg(test)]
mod tests;
