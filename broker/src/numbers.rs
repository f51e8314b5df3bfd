//! What Prometheus reads of the rooms that know nothing of it: replicas, metadata, the quorum. Taken when it is asked for.

mod client_metrics;

use crate::broker::Broker;
use crate::replica::Health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::{Arc, Weak};

/// Shows a broker's numbers from now on, as long as it lives.
pub fn register(broker: &Arc<Broker>) {
    let numbers = Box::new(Numbers {
        broker: Arc::downgrade(broker),
    });
    broker
        .telemetry
        .metrics
        .register(|registry| registry.register_collector(numbers));
}

struct Numbers {
    broker: Weak<Broker>,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").finish_non_exhaustive()
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(value.try_into().unwrap_or(i64::MAX)))
    }

    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(broker) = self.broker.upgrade() else {
            return Ok(());
        };
        let mut page = Page(encoder);
        data(&mut page, &broker)?;
        fetch_sessions(&mut page, &broker)?;
        quotas(&mut page, &broker)?;
        client_metrics::show(&mut page, &broker)?;
        storage(&mut page, &broker)?;
        cleaner(&mut page, &broker)?;
        fleet(&mut page, &broker)
    }
}

fn fetch_sessions(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let counts = broker.fetch_sessions.counts();
    page.gauge(
        "fetch_sessions",
        "Fetch sessions (KIP-227) of consumers and followers",
        counts.sessions,
    )?;
    page.gauge(
        "fetch_session_partitions",
        "The partitions of all fetch sessions",
        counts.partitions,
    )?;
    page.counter(
        "fetch_session_evictions",
        "Fetch sessions that had to go for others",
        counts.evictions,
    )
}

fn quotas(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let (requests, ms) = broker.quotas.throttled();
    page.counter(
        "throttled_requests",
        "Requests after which a client was held back for its quota",
        requests,
    )?;
    page.counter(
        "throttled_milliseconds",
        "For how long clients were held back for their quotas, together",
        ms,
    )
}

fn data(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let metrics = broker.replicas.metrics();
    for (name, help, counter) in [
        (
            "produced_records",
            "Records that producers appended",
            &metrics.messages_in,
        ),
        (
            "produced_bytes",
            "Bytes that producers appended",
            &metrics.bytes_in,
        ),
        (
            "fetched_bytes",
            "Bytes that consumers fetched",
            &metrics.bytes_out,
        ),
        (
            "replicated_in_bytes",
            "Bytes appended from leaders",
            &metrics.replication_bytes_in,
        ),
        (
            "replicated_out_bytes",
            "Bytes that followers fetched",
            &metrics.replication_bytes_out,
        ),
        (
            "throttled_in_bytes",
            "Bytes of those that were held to follower.replication.throttled.rate",
            &metrics.throttled_bytes_in,
        ),
        (
            "throttled_out_bytes",
            "Bytes of those that were held to leader.replication.throttled.rate",
            &metrics.throttled_bytes_out,
        ),
        (
            "produce_failures",
            "Appends that were refused",
            &metrics.produce_failures,
        ),
        (
            "isr_shrinks",
            "Replicas that left an in-sync set led here",
            &metrics.isr_shrinks,
        ),
        (
            "isr_expands",
            "Replicas that joined an in-sync set led here",
            &metrics.isr_expands,
        ),
        ("log_syncs", "Group commits", &metrics.syncs),
        (
            "cleaner_runs",
            "Compactions that came to their end",
            &metrics.cleanings,
        ),
        (
            "cleaner_io_bytes",
            "Bytes that compaction read and wrote, which log.cleaner.io.max.bytes.per.second limits",
            &metrics.cleaner_bytes,
        ),
        (
            "cleaner_cleaned_bytes",
            "Bytes of the segments that were compacted",
            &metrics.cleaned_bytes,
        ),
        (
            "cleaner_saved_bytes",
            "Bytes by which they became smaller",
            &metrics.cleaner_saved_bytes,
        ),
        (
            "cleaner_failures",
            "Compactions that failed: the broker's log says why",
            &metrics.cleaner_failures,
        ),
        (
            "broken_records_found",
            "Stretches of logs that were found broken",
            &metrics.damages,
        ),
        (
            "broken_records_mended",
            "Stretches of logs that were mended from another replica",
            &metrics.damages_mended,
        ),
        (
            "leaderships_handed_over",
            "Leaderships handed over because records were broken here",
            &metrics.leaderships_handed_over,
        ),
        (
            "indexes_rebuilt",
            "Segments whose indexes did not fit and were built anew",
            &metrics.indexes_rebuilt,
        ),
        (
            "scrubbed_bytes",
            "Bytes that were read again to see whether they are whole",
            &metrics.scrubbed_bytes,
        ),
        (
            "scrub_rounds",
            "Times that all of a volume was read again",
            &metrics.scrub_rounds,
        ),
    ] {
        page.counter(name, help, counter.get())?;
    }
    Ok(())
}

fn storage(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let census = broker.replicas.census();
    for (name, help, count) in [
        ("partitions", "Partitions stored here", census.partitions),
        ("leader_partitions", "Partitions led here", census.leaders),
        (
            "under_replicated_partitions",
            "Partitions led here with replicas that are not in sync",
            census.under_replicated,
        ),
        (
            "under_min_isr_partitions",
            "Partitions led here that refuse acks=all",
            census.under_min_isr,
        ),
        (
            "offline_partitions",
            "Partitions on volumes that failed",
            census.offline,
        ),
        (
            "broken_partitions",
            "Partitions with records that are broken here",
            census.broken,
        ),
        (
            "unmendable_partitions",
            "Partitions with records that are broken here and on every replica that could be asked",
            census.beyond_repair,
        ),
    ] {
        page.gauge(name, help, count)?;
    }
    let volumes = broker.replicas.volumes();
    let refusing = volumes.iter().filter(|volume| volume.health() != Health::Online);
    page.gauge("volumes", "Data directories", volumes.len())?;
    page.gauge(
        "refusing_volumes",
        "Data directories that take no records: full or failed",
        refusing.count(),
    )
}

fn cleaner(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let census = broker.replicas.cleaner_census();
    page.metric(
        "cleaner_dirty_ratio_max",
        "The largest part of a compacted log that is new since its last compaction",
        &ConstGauge::new(census.dirty_ratio_max),
    )?;
    page.metric(
        "cleaner_overdue_seconds_max",
        "For how long records have waited for compaction beyond max.compaction.lag.ms",
        &ConstGauge::new(census.overdue_ms_max as f64 / 1_000.0),
    )?;
    page.gauge(
        "uncleanable_partitions",
        "Partitions that cannot be compacted: damaged, or without room on their volume",
        census.uncleanable_partitions,
    )?;
    page.gauge(
        "uncleanable_bytes",
        "Bytes of those partitions",
        census.uncleanable_bytes,
    )
}

fn fleet(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let latest = broker.metadata.latest();
    let image = &latest.image;
    page.gauge(
        "metadata_index",
        "Up to where this broker knows the metadata",
        latest.index,
    )?;
    page.gauge(
        "registered_brokers",
        "Brokers that the fleet knows",
        image.brokers().count(),
    )?;
    let fenced = image.brokers().filter(|broker| broker.fenced);
    page.gauge(
        "fenced_brokers",
        "Brokers that the fleet has lost sight of",
        fenced.count(),
    )?;
    let controls = broker.controller.known() == Some(broker.id);
    page.gauge(
        "is_controller",
        "Whether this broker is the controller, as far as it knows",
        i64::from(controls),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Fact;
    use crate::request::testing;

    #[tokio::test]
    async fn numbers_of_a_broker_are_on_the_page_while_it_lives() {
        let facts =
            [(0, false), (1, true)].map(|(id, fenced)| Fact::Broker(testing::broker_record(id, fenced)));
        let broker = Broker::in_memory(testing::image(facts));
        register(&broker);
        let metrics = broker.telemetry.metrics.clone();
        let page = metrics.encode();
        for line in [
            "flotilla_registered_brokers 2",
            "flotilla_fenced_brokers 1",
            "flotilla_produced_records_total 0",
            "flotilla_under_replicated_partitions 0",
            "flotilla_refusing_volumes 0",
            "flotilla_cleaner_runs_total 0",
            "flotilla_cleaner_dirty_ratio_max 0.0",
            "flotilla_uncleanable_partitions 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        drop(broker);
        assert!(!metrics.encode().contains("registered_brokers"));
    }
}
