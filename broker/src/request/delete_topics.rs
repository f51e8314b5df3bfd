//! DeleteTopics.

use std::collections::BTreeSet;

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::topic_ref::Topic as Named;
use flotilla_control::proto::metadata::{DeleteTopics, TopicRef};
use flotilla_protocol::messages::delete_topics_response::DeletableTopicResult;
use flotilla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::submit::{Outcome, submit};
use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;

/// A topic as the client names it: by name, or from version 6 on by id (KIP-516).
type Target = (Option<Str>, Uuid);

/// From here on clients know that they may be refused for their quota (KIP-599).
const STRICT_VERSION: i16 = 5;

/// Deletes each topic that may be deleted. Who may not even see a topic that was named by id does not learn its name.
pub(super) async fn handle(ctx: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let image = ctx.image();
    let targets: Vec<Target> = if ctx.version >= 6 {
        request
            .topics
            .into_iter()
            .map(|topic| (topic.name, topic.topic_id))
            .collect()
    } else {
        request
            .topic_names
            .into_iter()
            .map(|name| (Some(name), Uuid::ZERO))
            .collect()
    };
    let mut responses = Vec::new();
    let partition_count = |id| image.topic_by_id(id).map_or(0, |topic| topic.partition_count());
    let mut wanted: Vec<(Str, Uuid)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (named, named_id) in targets {
        match check(ctx, &image, &named, named_id) {
            Ok((name, id)) if seen.insert(id) => wanted.push((name, id)),
            // Named once more, it is answered no more.
            Ok((_, id)) if !wanted.iter().any(|(_, other)| *other == id) => {}
            Ok((name, id)) => {
                let outcome = Outcome::because(
                    ErrorCode::InvalidRequest,
                    format!("topic `{name}` is named twice"),
                );
                wanted.retain(|(_, other)| *other != id);
                responses.push(result(Some(name), named_id, outcome));
            }
            Err((name, id, outcome)) => responses.push(result(name, id, outcome)),
        }
    }
    wanted.retain(|(name, id)| {
        let may = ctx.may_mutate(partition_count(*id), ctx.version >= STRICT_VERSION);
        if !may {
            let outcome = Outcome::of(ErrorCode::ThrottlingQuotaExceeded);
            responses.push(result(Some(name.clone()), *id, outcome));
        }
        may
    });
    if !wanted.is_empty() {
        let named = |(_, id): &(Str, Uuid)| TopicRef {
            topic: Some(Named::TopicId(id.0.to_vec())),
            owner: None,
        };
        let asked = Asked::DeleteTopics(DeleteTopics {
            topics: wanted.iter().map(named).collect(),
        });
        let outcome = submit(ctx, request.timeout_ms, false, asked).await;
        for (place, (name, id)) in wanted.into_iter().enumerate() {
            let outcome = match &outcome {
                Ok(response) => response.items.get(place).map_or_else(
                    || Outcome::of(ErrorCode::UnknownServerError),
                    |item| error::of_item(item).into(),
                ),
                Err(outcome) => outcome.clone(),
            };
            responses.push(result(Some(name), id, outcome));
        }
    }
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

fn result(name: Option<Str>, topic_id: Uuid, outcome: Outcome) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: outcome.code(),
        error_message: outcome.message,
    }
}

type Refused = (Option<Str>, Uuid, Outcome);

fn check(ctx: &Context, image: &Image, name: &Option<Str>, id: Uuid) -> Result<(Str, Uuid), Refused> {
    let refuse = |error: ErrorCode| (name.clone(), id, Outcome::of(error));
    if name.is_some() != id.is_zero() {
        let message = "a topic is named either by its name or by its id";
        return Err((
            name.clone(),
            id,
            Outcome::because(ErrorCode::InvalidRequest, message),
        ));
    }
    let topic = match name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(id),
    };
    // By name: whether it exists is told only to who may delete it. By id: whoever has the id has seen the topic.
    let known = topic.map(|topic| topic.name.as_str()).or(name.as_deref());
    let Some(known) = known else {
        return Err(refuse(ErrorCode::UnknownTopicId));
    };
    if !ctx.allowed_in(image, Operation::Delete, ResourceType::Topic, known) {
        let visible = ctx.allowed_in(image, Operation::Describe, ResourceType::Topic, known);
        let shown = if visible {
            Some(Str::copy_from(known))
        } else {
            name.clone()
        };
        return Err((shown, id, Outcome::of(ErrorCode::TopicAuthorizationFailed)));
    }
    if !ctx.broker.settings().delete_topic_enable {
        let code = if ctx.version < 3 {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        return Err(refuse(code));
    }
    match topic {
        Some(topic) => Ok((Str::from(&topic.name), topic.id)),
        None => Err(refuse(ErrorCode::UnknownTopicOrPartition)),
    }
}
