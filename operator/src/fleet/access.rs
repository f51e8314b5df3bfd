use std::time::Duration;

use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::tls::Credentials;
use flotilla_control::{BrokerId, Uuid};
use tonic::transport::{Channel, Endpoint};

/// How long a broker may take to accept a connection, names and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection over which nothing comes is asked for a sign of life after this, and given up after as much again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Topics with very many partitions come in one message, and a snapshot does.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// What is needed to reach a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The cluster's id.
    pub cluster_id: Uuid,
    /// What proves the caller.
    pub credentials: Credentials,
    /// Where brokers listen for gRPC, as `host:port`. Those that have come and gone may be among them.
    pub brokers: Vec<(BrokerId, String)>,
}

impl Access {
    /// A way to one broker. Nothing is connected before it is first used, and what breaks is connected again when it is next used.
    ///
    /// # Errors
    /// What is wrong with the address or the credentials.
    pub(super) fn channel(&self, id: BrokerId, address: &str) -> Result<FleetClient<Channel>, String> {
        let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(|error| said(&error))?;
        let endpoint = endpoint
            .tls_config(self.credentials.channel_config(self.cluster_id, id))
            .map_err(|error| said(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Ok(FleetClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// The innermost cause, which says most: what is around it says that something did not work.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
