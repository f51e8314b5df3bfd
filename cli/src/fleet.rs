//! The gRPC way to a fleet: any broker that answers reaches the leader of the quorum for its caller.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use flotilla_control::config::BrokerConfig;
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::tls::Credentials;
use flotilla_control::{BrokerId, Uuid};
use tonic::transport::{Channel, Endpoint};

use crate::home::Home;

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Topics with very many partitions come in one message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What is needed to reach a fleet.
#[derive(Clone, Debug)]
pub struct Access {
    /// The cluster's id.
    pub cluster_id: Uuid,
    /// What proves the caller.
    pub credentials: Credentials,
    /// Where brokers listen for gRPC.
    pub brokers: Vec<(BrokerId, String)>,
}

impl Access {
    /// To the fleet in a directory.
    pub fn to(home: &Home, configs: &[BrokerConfig]) -> anyhow::Result<Self> {
        let first = configs.first().context("no broker has been started here yet")?;
        Ok(Self {
            cluster_id: first.cluster_id,
            credentials: Credentials::read(&home.operator_tls())?,
            brokers: configs
                .iter()
                .map(|config| (config.broker_id, config.control.advertised.to_string()))
                .collect(),
        })
    }

    /// A connection to the first broker that answers.
    pub async fn connect(&self) -> anyhow::Result<FleetClient<Channel>> {
        let mut refusals = Vec::new();
        for (id, address) in &self.brokers {
            match self.channel(*id, address).await {
                Ok(channel) => {
                    return Ok(FleetClient::new(channel)
                        .max_decoding_message_size(MESSAGE_BYTES_MAX)
                        .max_encoding_message_size(MESSAGE_BYTES_MAX));
                }
                Err(error) => refusals.push(format!("broker {id} at {address}: {}", error.root_cause())),
            }
        }
        Err(anyhow!("no broker answers ({})", refusals.join("; ")))
    }

    async fn channel(&self, id: BrokerId, address: &str) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(self.credentials.channel_config(self.cluster_id, id))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        Ok(endpoint.connect().await?)
    }
}

/// Waits for an answer, but not for ever.
pub async fn answered<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, tonic::Status> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(tonic::Status::deadline_exceeded(format!(
            "no answer within {} seconds",
            CALL_TIMEOUT.as_secs()
        ))),
    }
}
