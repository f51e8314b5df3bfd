//! Both gRPC services on one listener, told apart by the path of a call.

use std::convert::Infallible;
use std::task::{Context, Poll};

use flotilla_control::proto::coordination::coordination_server::CoordinationServer;
use flotilla_control::proto::fleet::fleet_server::{FleetServer, SERVICE_NAME};
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::fleet::Fleet;
use super::service;

/// Fleet and Coordination.
#[derive(Clone)]
pub struct Router {
    /// For the operator, the command line and brokers.
    pub fleet: FleetServer<Fleet>,
    /// For brokers; it also answers paths that nobody knows.
    pub coordination: CoordinationServer<service::Service>,
}

impl Service<http::Request<Body>> for Router {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        if service == Some(SERVICE_NAME) {
            self.fleet.call(request)
        } else {
            self.coordination.call(request)
        }
    }
}
