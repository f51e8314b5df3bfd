//! The gRPC contract, as the operator calls it.

use flotilla_control::config::{BrokerConfig, InternalTls};
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::proto::fleet::{
    ApplyConfigRequest, ApplyResponse, AssignRequest, PlanRestartRequest, PlanRestartResponse,
    PrepareRestartRequest,
};
use flotilla_control::proto::metadata::{Reassignment, ResourceConfigs};
use flotilla_control::tls::Credentials;
use flotilla_operator::fleet::Access;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::fleet::Fleet;

/// Calls a fleet, from any of its brokers that answers.
pub struct Operator {
    runtime: Runtime,
    credentials: Credentials,
    brokers: Vec<BrokerConfig>,
}

impl Operator {
    /// Of a fleet that was started.
    pub fn of(fleet: &Fleet) -> Self {
        let data = fleet.data();
        let files = InternalTls {
            ca: data.join("ca/cluster.crt"),
            certificate: data.join("operator/tls.crt"),
            key: data.join("operator/tls.key"),
        };
        let mut brokers: Vec<_> = std::fs::read_dir(data.join("brokers"))
            .expect("brokers")
            .map(|entry| entry.expect("an entry").path().join("broker.yaml"))
            .map(|file| BrokerConfig::load(&file).expect("a configuration"))
            .collect();
        brokers.sort_by_key(|config| config.broker_id);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            credentials: Credentials::read(&files).expect("credentials"),
            brokers,
        }
    }

    /// What the operator's own client needs.
    pub fn access(&self) -> Access {
        let brokers = self.brokers.iter();
        Access {
            cluster_id: self.brokers[0].cluster_id,
            credentials: self.credentials.clone(),
            brokers: brokers
                .map(|config| (config.broker_id, config.control.advertised.to_string()))
                .collect(),
        }
    }

    /// Has the first broker that answers do something. A broker that is down is passed over.
    pub fn call<T>(
        &self,
        call: impl AsyncFn(FleetClient<Channel>) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, String> {
        let mut last = "no brokers".to_owned();
        for broker in &self.brokers {
            let tls = self
                .credentials
                .channel_config(broker.cluster_id, broker.broker_id);
            let endpoint = Endpoint::from_shared(format!("https://{}", broker.control.advertised))
                .expect("an address")
                .tls_config(tls)
                .expect("credentials that fit");
            let answer = self.runtime.block_on(async {
                let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
                let answer = call(FleetClient::new(channel)).await;
                answer.map_err(|status| status.to_string())
            });
            match answer {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Which of these may be down together now.
    pub fn plan_restart(&self, brokers: &[i32]) -> Result<PlanRestartResponse, String> {
        let request = PlanRestartRequest {
            broker_ids: brokers.to_vec(),
        };
        self.call(async |mut client| client.plan_restart(request.clone()).await)
    }

    /// Takes a grant for a minute, or gives it back.
    pub fn prepare_restart(&self, brokers: &[i32], release: bool) -> Result<ApplyResponse, String> {
        let request = PrepareRestartRequest {
            broker_ids: brokers.to_vec(),
            grant_ms: if release { 0 } else { 60_000 },
            release,
            dry_run: false,
        };
        let answer = self.call(async |mut client| client.prepare_restart(request.clone()).await)?;
        if answer.refusal == 0 {
            Ok(answer)
        } else {
            Err(answer.message)
        }
    }

    /// Changes settings.
    pub fn apply_config(&self, resource: ResourceConfigs) {
        let request = ApplyConfigRequest {
            resources: vec![resource],
            dry_run: false,
        };
        let answer = self.call(async |mut client| client.apply_config(request.clone()).await);
        accepted(answer.expect("an answer"));
    }

    /// Gives a partition other replicas.
    pub fn assign(&self, partition: Reassignment) {
        let request = AssignRequest {
            partitions: vec![partition],
            dry_run: false,
        };
        let answer = self.call(async |mut client| client.assign(request.clone()).await);
        accepted(answer.expect("an answer"));
    }
}

fn accepted(answer: ApplyResponse) {
    let refused = answer.items.iter().find(|item| item.refusal != 0);
    assert!(answer.refusal == 0 && refused.is_none(), "{answer:?}");
}
