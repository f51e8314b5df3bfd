//! What a handler knows of the request that it answers, besides the request.

use super::{Meter, Session};
use crate::auth::{Operation, ResourceType, Subject};
use crate::broker::Broker;
use crate::metadata::{self, Image};
use std::sync::Arc;

/// The request's surroundings. Cheap to clone, so that an answer that comes later can keep it.
#[derive(Clone)]
pub struct Context {
    /// The broker that answers.
    pub broker: Arc<Broker>,
    /// Who asks.
    pub session: Arc<Session>,
    /// What the client calls itself, from the request's header.
    pub client_id: Option<Arc<str>>,
    /// Of the request; the answer has the same.
    pub version: i16,
    /// By which the client tells its answers apart.
    pub correlation_id: i32,
    /// What the request uses of the client's quotas.
    pub meter: Arc<Meter>,
}

/// The longest name of a resource that rules are searched for, in bytes; a longer one is refused. No resource has one nearly as long, and a client
/// that sends one of many megabytes is not to keep a processor busy with its prefixes.
const RESOURCE_NAME_BYTES_MAX: usize = 32_767;

/// What "authorized operations" hold where the client did not ask for them (KIP-430).
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

impl Context {
    /// The metadata as it is now. Take it once per request, so that one answer shows one state.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.broker.metadata.image()
    }

    /// Whether the client may do that, by the rules as they are now.
    #[must_use]
    pub fn allowed(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        self.allowed_in(&self.image(), operation, resource, name)
    }

    /// The same by the rules of an image at hand.
    #[must_use]
    pub fn allowed_in(
        &self,
        image: &Image,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> bool {
        if self.session.is_internal {
            return true;
        }
        let searched = if name.len() > RESOURCE_NAME_BYTES_MAX {
            ""
        } else {
            name
        };
        let rules = image.acls_on(resource.code().into(), searched);
        self.broker
            .authorizer
            .authorize(rules, self.subject(), operation, resource, name)
    }

    /// Whether there is any resource of that type on which the client may do that (KIP-679).
    #[must_use]
    pub fn allowed_on_any(&self, operation: Operation, resource: ResourceType) -> bool {
        let image = self.image();
        if self.session.is_internal {
            return true;
        }
        let rules: Vec<_> = image.acls().collect();
        let rules = rules.iter().copied();
        self.broker
            .authorizer
            .authorize_any(rules, self.subject(), operation, resource)
    }

    /// What the client may do with a resource, one bit for each operation's number (KIP-430).
    #[must_use]
    pub fn authorized_operations(&self, image: &Image, resource: ResourceType, name: &str) -> i32 {
        let allowed = resource
            .operations()
            .iter()
            .filter(|operation| self.allowed_in(image, **operation, resource, name));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// Where the client finds a broker: its address on the listener over which the client asks. None where it has none.
    #[must_use]
    pub fn endpoint<'a>(&self, broker: &'a metadata::Broker) -> Option<&'a metadata::Endpoint> {
        if self.session.is_internal {
            broker.replication.as_ref()
        } else {
            broker.endpoint(&self.session.listener)
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            principal: &self.session.principal,
            host: &self.session.client_address,
        }
    }
}
