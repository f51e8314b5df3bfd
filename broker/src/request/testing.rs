//! Surroundings for tests of handlers.

use super::{Context, Meter, Session};
use crate::auth::Principal;
use crate::broker::Broker;
use crate::metadata::{Endpoint, Fact, Image, Record};
use flotilla_control::proto::metadata as proto;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A request of that version by an anonymous client on the listener `internal` of a broker that knows nothing yet.
pub(crate) fn context(version: i16) -> Context {
    context_of(
        Broker::in_memory(Image::default()),
        Principal::anonymous(),
        version,
    )
}

/// A request of that version to that broker, by that client.
pub(crate) fn context_of(broker: Arc<Broker>, principal: Principal, version: i16) -> Context {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let session = Session::new(1, "internal".into(), principal, host);
    Context {
        broker,
        session: Arc::new(session),
        client_id: Some("test".into()),
        version,
        correlation_id: 1,
        meter: Arc::new(Meter::default()),
    }
}

/// The fold of these records.
pub(crate) fn image(facts: impl IntoIterator<Item = Fact>) -> Image {
    let mut image = Image::default();
    for fact in facts {
        image
            .fold(&Record { record: Some(fact) })
            .expect("a known record");
    }
    image
}

/// A broker alone, with a topic `orders` and both topics of coordinators, ids 1 to 3: it leads a partition of each.
pub(crate) fn with_coordinators() -> Image {
    use crate::replica::testing::{broker, image, partition, topic};
    image([
        broker(0, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
        topic(crate::group::TOPIC, 2),
        partition(2, 0, &[0], &[0], 1),
        topic(crate::transaction::TOPIC, 3),
        partition(3, 0, &[0], &[0], 1),
    ])
}

/// A broker at `host-N:9092` on the listener `internal`.
pub(crate) fn broker_record(id: i32, fenced: bool) -> proto::Broker {
    let endpoint = |listener: &str, port| Endpoint {
        listener: listener.into(),
        host: format!("host-{id}"),
        port,
        security_protocol: proto::SecurityProtocol::Plaintext.into(),
    };
    proto::Broker {
        broker_id: id,
        broker_epoch: i64::from(id) + 1,
        incarnation_id: vec![id as u8 + 1; 16],
        directory_id: vec![id as u8 + 101; 16],
        endpoints: vec![endpoint("internal", 9092)],
        replication: Some(endpoint("replication", 9190)),
        control_address: format!("host-{id}:9290"),
        rack: format!("rack-{id}"),
        roles: vec!["broker".into()],
        fenced,
        flotilla_version_max: 1,
        ..proto::Broker::default()
    }
}
