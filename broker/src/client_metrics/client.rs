//! What a subscription can select a client by.

use std::borrow::Cow;
use std::sync::Arc;

use flotilla_protocol::Uuid;

/// What Kafka calls the software of a client that did not say.
pub const SOFTWARE_UNKNOWN: &str = "unknown";

/// A client as its first request about metrics shows it. It stays so: a connection that changes does not change who is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The id of the instance, drawn by a broker.
    pub instance_id: Uuid,
    /// What the client calls itself.
    pub client_id: Option<Arc<str>>,
    /// The library, as ApiVersions names it (KIP-511).
    pub software_name: Arc<str>,
    /// Its version.
    pub software_version: Arc<str>,
    /// Where it is.
    pub source_address: Arc<str>,
    /// Its port there; none where it is not known.
    pub source_port: Option<u16>,
}

impl Client {
    /// What a selector looks at; none where the client has nothing of the kind, so that no expression matches.
    pub(super) fn value(&self, selector: &str) -> Option<Cow<'_, str>> {
        match selector {
            "client_id" => self.client_id.as_deref().map(Cow::Borrowed),
            "client_instance_id" => Some(self.instance_id.to_string().into()),
            "client_software_name" => Some(Cow::Borrowed(&self.software_name)),
            "client_software_version" => Some(Cow::Borrowed(&self.software_version)),
            "client_source_address" => Some(Cow::Borrowed(&self.source_address)),
            "client_source_port" => self.source_port.map(|port| port.to_string().into()),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A Java client whose instance has that number.
    pub(crate) fn client(number: u8) -> Client {
        Client {
            instance_id: Uuid([number; 16]),
            client_id: Some(format!("client-{number}").into()),
            software_name: "apache-kafka-java".into(),
            software_version: "4.3.1".into(),
            source_address: "10.0.0.7".into(),
            source_port: Some(40_000),
        }
    }
}
