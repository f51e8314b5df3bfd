//! Quotas: DescribeClientQuotas, AlterClientQuotas.

use flotilla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use flotilla_protocol::messages::describe_client_quotas_request::ComponentData;
use flotilla_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};
use flotilla_protocol::{ErrorCode, Str};

use crate::case::{Case, case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = describe();
    cases.extend(alter());
    cases
}

fn entry(kind: &'static str, name: Option<Str>, key: &'static str, value: f64) -> EntryData {
    EntryData {
        entity: vec![EntityData {
            entity_type: kind.into(),
            entity_name: name,
        }],
        ops: vec![OpData {
            key: key.into(),
            value,
            remove: false,
        }],
    }
}

fn set(entry: EntryData) -> AlterClientQuotasRequest {
    AlterClientQuotasRequest {
        entries: vec![entry],
        validate_only: false,
    }
}

fn of(kind: &'static str, match_type: i8, name: Option<Str>) -> DescribeClientQuotasRequest {
    DescribeClientQuotasRequest {
        components: vec![ComponentData {
            entity_type: kind.into(),
            match_type,
            match_: name,
        }],
        strict: true,
    }
}

const EXACT: i8 = 0;

impl Scene<'_> {
    /// A quota of the user who has the name of this case.
    fn quota(&mut self) -> anyhow::Result<()> {
        let name = self.name();
        let answer = self.call(
            1,
            &set(entry("user", Some(name.clone()), "producer_byte_rate", 1_000.0)),
        )?;
        anyhow::ensure!(answer.entries[0].error_code == 0, "{answer:?}");
        let request = of("user", EXACT, Some(name));
        self.wait_for("the quota", |scene| {
            let answer = scene.call(1, &request)?;
            let entries = answer.entries.as_deref().unwrap_or_default();
            anyhow::ensure!(!entries.is_empty(), "{answer:?}");
            Ok(())
        });
        Ok(())
    }
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("of a user", E::None, |at| {
            at.quota()?;
            Ok(of("user", EXACT, Some(at.name())))
        }),
        case("of whom there is none", E::None, |at| {
            Ok(of("user", EXACT, Some(at.name())))
        }),
        case("of a kind that there is not", E::UnsupportedVersion, |at| {
            Ok(of("made-up", EXACT, Some(at.name())))
        }),
        case("of an empty kind", E::InvalidRequest, |at| {
            Ok(of("", EXACT, Some(at.name())))
        }),
        case("of a match that there is not", E::InvalidRequest, |at| {
            Ok(of("user", 77, Some(at.name())))
        }),
        case("of the same kind twice", E::InvalidRequest, |at| {
            let mut request = of("user", EXACT, Some(at.name()));
            let again = request.components[0].clone();
            request.components.push(again);
            Ok(request)
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(of("user", EXACT, Some(at.name())))
        })
        .by_nobody(),
    ]
}

fn alter() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("of a user", E::None, |at| {
            Ok(set(entry("user", Some(at.name()), "producer_byte_rate", 1_000.0)))
        }),
        case("of a client id", E::None, |at| {
            Ok(set(entry(
                "client-id",
                Some(at.name()),
                "request_percentage",
                50.0,
            )))
        }),
        case("only checked", E::None, |at| {
            Ok(AlterClientQuotasRequest {
                validate_only: true,
                ..set(entry("user", Some(at.name()), "consumer_byte_rate", 1_000.0))
            })
        }),
        case("taken away", E::None, |at| {
            at.quota()?;
            let mut entry = entry("user", Some(at.name()), "producer_byte_rate", 0.0);
            entry.ops[0].remove = true;
            Ok(set(entry))
        }),
        case("of a key that there is not", E::InvalidRequest, |at| {
            Ok(set(entry("user", Some(at.name()), "made_up", 1_000.0)))
        }),
        case("of a negative value", E::InvalidRequest, |at| {
            Ok(set(entry("user", Some(at.name()), "producer_byte_rate", -5.0)))
        }),
        case("of a kind that there is not", E::InvalidRequest, |at| {
            Ok(set(entry("made-up", Some(at.name()), "producer_byte_rate", 5.0)))
        }),
        case("of nothing", E::InvalidRequest, |at| {
            let mut entry = entry("user", Some(at.name()), "producer_byte_rate", 5.0);
            entry.entity.clear();
            Ok(set(entry))
        }),
        case("of an empty name", E::InvalidRequest, |_| {
            Ok(set(entry("user", Some("".into()), "producer_byte_rate", 5.0)))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(set(entry("user", Some(at.name()), "producer_byte_rate", 5.0)))
        })
        .by_nobody(),
    ]
}
