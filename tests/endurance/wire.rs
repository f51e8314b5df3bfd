//! A connection of a member to the broker that coordinates its group.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use flotilla_protocol::messages::FindCoordinatorRequest;
use flotilla_protocol::{ErrorCode, Message as _, Request, Str, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Between two questions for the coordinator of a group that has none yet.
pub const ASK_AGAIN: Duration = Duration::from_millis(100);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const FIND_COORDINATOR: i16 = 6;

/// What a broker answered that it should not have.
pub fn refused(what: &str, error: ErrorCode) -> io::Error {
    io::Error::other(format!("{what} was answered with {}", error.name()))
}

/// A connection to the broker that coordinates a group.
pub async fn coordinator(bootstrap: &str, group: &str) -> io::Result<Wire> {
    let first = bootstrap.split(',').next().unwrap_or_default();
    let mut wire = Wire::open(first).await?;
    loop {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![Str::copy_from(group)],
            ..Default::default()
        };
        let mut answer = wire.call(FIND_COORDINATOR, &request).await?;
        let found = answer.coordinators.remove(0);
        match ErrorCode::from(found.error_code) {
            ErrorCode::None => return Wire::open(&format!("{}:{}", found.host, found.port)).await,
            ErrorCode::CoordinatorNotAvailable => tokio::time::sleep(ASK_AGAIN).await,
            error => return Err(refused("FindCoordinator", error)),
        }
    }
}

/// A connection on which one request waits for its answer.
pub struct Wire {
    stream: TcpStream,
    received: BytesMut,
    next: i32,
}

impl Wire {
    async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: BytesMut::new(),
            next: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.next += 1;
        let client = Str::from_static("member");
        let parts = frame::request(version, self.next, Some(&client), request).map_err(io::Error::other)?;
        self.stream.write_all(&parts.concat()).await?;
        let answer = loop {
            if let Some(frame) =
                frame::split(&mut self.received, ANSWER_BYTES_MAX).map_err(io::Error::other)?
            {
                break frame;
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let (correlation_id, mut reader) =
            frame::decode_response(answer, R::KEY, version).map_err(io::Error::other)?;
        if correlation_id != self.next {
            return Err(io::Error::other("the answer is another request's"));
        }
        R::Response::decode(&mut reader, version).map_err(io::Error::other)
    }
}
