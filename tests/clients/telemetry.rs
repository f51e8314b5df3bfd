//! Metrics of clients (KIP-714): `kafka-client-metrics.sh` and `kafka-configs.sh` make subscriptions, a Java producer pushes, and the broker shows it to
//! Prometheus.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flotilla_control::config::BrokerConfig;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::process::Process;
use crate::tools::{Ran, java, libraries};

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const SENT: &str = "flotilla_client_metric_org_apache_kafka_producer_record_send_total";

/// A producer of Java's that pushes what it is asked for.
fn producer(bootstrap: &str, client_id: &str) -> Process {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/Telemetry.java");
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"])
        .arg(libraries::class_path().expect("Apache Kafka's classes"))
        .arg(source)
        .args([bootstrap, client_id]);
    Process::start("a producer of Java's", &mut command)
}

fn metrics_command(bootstrap: &str, args: &[&str]) -> String {
    java(
        "ClientMetricsCommand",
        &[&["--bootstrap-server", bootstrap], args].concat(),
    )
    .ok()
}

fn configs(bootstrap: &str, args: &[&str]) -> Ran {
    let subscription = [
        "--bootstrap-server",
        bootstrap,
        "--entity-type",
        "client-metrics",
        "--entity-name",
        "shops",
    ];
    java(CONFIGS, &[&subscription, args].concat())
}

/// The page that Prometheus reads of broker 0.
fn page(fleet: &Fleet) -> Result<String, String> {
    const WITHIN: Duration = Duration::from_secs(10);
    let config =
        BrokerConfig::load(&fleet.data().join("brokers/0/broker.yaml")).map_err(|e| e.to_string())?;
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&config.admin.bind, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok::<_, std::io::Error>(page)
    };
    ask().map_err(|error| error.to_string())
}

/// Waits until the series of that name and client is as it should be; none where there is none.
fn wait_for_value(fleet: &Fleet, client: &str, wanted: Option<f64>) {
    let labels = format!("{SENT}{{client_id=\"{client}\"");
    eventually(
        Duration::from_secs(60),
        &format!("{wanted:?} from {client}"),
        || {
            let page = page(fleet)?;
            let line = page.lines().find(|line| line.starts_with(&labels));
            let value = line
                .and_then(|line| line.split_whitespace().last())
                .and_then(|value| value.parse::<f64>().ok());
            if value == wanted {
                Ok(())
            } else {
                Err(format!("{line:?}"))
            }
        },
    );
}

#[test]
fn java_producer_pushes_the_metrics_that_a_subscription_asks_for() {
    let fleet = Fleet::start(&manifests(1, &[("orders", 1, 1)]));
    let bootstrap = fleet.bootstrap();
    subscriptions_are_made_changed_and_refused(bootstrap);

    let mut shop = producer(bootstrap, "shop-1");
    let mut other = producer(bootstrap, "other");
    let id = shop.ask("id").pop().expect("its id");
    other.ask("send orders 1");
    shop.ask("send orders 7");
    wait_for_value(&fleet, "shop-1", Some(7.0));
    shop.ask("send orders 5");
    wait_for_value(&fleet, "shop-1", Some(12.0));
    let shown = page(&fleet).expect("the page");
    assert!(
        shown.contains(&format!("client_instance_id=\"{id}\"")),
        "{id} is not in\n{shown}"
    );
    assert!(
        !shown.contains("client_id=\"other\""),
        "it was not asked\n{shown}"
    );
    assert!(
        !shown.contains("flotilla_client_metric_org_apache_kafka_producer_batch"),
        "{shown}"
    );

    // The last push says that it is the last.
    shop.ask("close");
    wait_for_value(&fleet, "shop-1", None);

    metrics_command(bootstrap, &["--delete", "--name", "shops"]);
    assert!(!metrics_command(bootstrap, &["--list"]).contains("shops"));
}

fn subscriptions_are_made_changed_and_refused(bootstrap: &str) {
    metrics_command(
        bootstrap,
        &[
            "--alter",
            "--name",
            "shops",
            "--metrics",
            "org.apache.kafka.producer.record.",
            "--interval",
            "5000",
            "--match",
            "client_software_name=apache-kafka-java,client_id=shop-.*,client_source_port=[0-9]+",
        ],
    );
    assert!(
        metrics_command(bootstrap, &["--list"])
            .lines()
            .any(|line| line == "shops")
    );
    let described = metrics_command(bootstrap, &["--describe", "--name", "shops"]);
    for set in [
        "interval.ms=5000",
        "metrics=org.apache.kafka.producer.record.",
        "match=client_software_name=apache-kafka-java,client_id=shop-.*,client_source_port=[0-9]+",
    ] {
        assert!(described.contains(set), "{set} is not in {described}");
    }
    configs(bootstrap, &["--alter", "--add-config", "interval.ms=2000"]).ok();
    let described = configs(bootstrap, &["--describe"]).ok();
    assert!(described.contains("interval.ms=2000"), "{described}");
    let refused = configs(bootstrap, &["--alter", "--add-config", "interval.ms=5"]);
    assert!(
        !refused.success
            && refused
                .all()
                .contains("a whole number from 100 to 3600000 is expected"),
        "{refused:?}"
    );
}
