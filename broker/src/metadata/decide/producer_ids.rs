//! Blocks of producer ids (KIP-730).

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{AllocateProducerIds, Refusal, Response};

use super::{Draft, Refused, brokers, refuse};
use crate::metadata::Fact;

/// How many ids a broker gets at a time, as in Kafka.
pub const PRODUCER_ID_BLOCK: i32 = 1_000;

pub(super) fn allocate(
    draft: &mut Draft<'_, '_>,
    request: &AllocateProducerIds,
) -> Result<Response, Refused> {
    brokers::current(draft, request.broker_id, request.broker_epoch)?;
    let first = draft.image.next_producer_id();
    let next = first
        .checked_add(i64::from(PRODUCER_ID_BLOCK))
        .ok_or_else(|| refuse(Refusal::PolicyViolation, "all producer ids have been given out"))?;
    draft.write(Fact::ProducerIds(proto::ProducerIds {
        next_producer_id: next,
    }));
    Ok(Response {
        first_producer_id: first,
        producer_id_count: PRODUCER_ID_BLOCK,
        ..Response::default()
    })
}
