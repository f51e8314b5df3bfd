//! A broker under test, whichever it is, as clients reach it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use flotilla_protocol::messages::ApiVersionsRequest;
use flotilla_protocol::{ApiKey, ErrorCode, Message as _, Request, Str, frame};

use crate::raw::Connection;

/// Who may do nothing.
pub const NOBODY: &str = "nobody";
pub const PASSWORD: &str = "a-password";
/// What cases call themselves.
const CLIENT_ID: Str = Str::from_static("differential");
const CORRELATION_ID: i32 = 7;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// May do everything, and comes over the plaintext listener.
    Administrator,
    /// Authenticated as [`NOBODY`].
    Nobody,
    /// Not authenticated yet, where that is asked for. Each scene has one of its own.
    Stranger,
}

/// Where a broker listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub plain: String,
    /// For SASL without TLS.
    pub sasl: String,
}

pub struct Broker {
    pub addresses: Addresses,
    connections: BTreeMap<Who, Connection>,
}

impl Broker {
    pub fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            connections: BTreeMap::new(),
        }
    }

    /// Sends a request and reads its answer; `None`: the broker closed the connection.
    pub fn call<R: Request>(&mut self, who: Who, version: i16, request: &R) -> Result<Option<R::Response>>
    where
        R::Response: Debug,
    {
        let name = R::KEY.name();
        let bytes = frame::request(version, CORRELATION_ID, Some(&CLIENT_ID), request)
            .with_context(|| format!("{name} {version} cannot be written"))?
            .concat();
        let Some(answer) = self.exchange(who, &bytes)? else {
            return Ok(None);
        };
        let (correlation_id, mut reader) = frame::decode_response(answer, R::KEY, version)?;
        ensure!(
            correlation_id == CORRELATION_ID,
            "the answer is to another request"
        );
        let response =
            R::Response::decode(&mut reader, version).and_then(|response| reader.finish().map(|()| response));
        Ok(Some(response.with_context(|| {
            format!("the answer to {name} {version} cannot be read")
        })?))
    }

    /// Has the next stranger come over a new connection.
    pub fn forget_stranger(&mut self) {
        self.connections.remove(&Who::Stranger);
    }

    /// A connection of one's own, without authentication.
    pub fn connection(&self) -> io::Result<Connection> {
        Connection::try_open(&self.addresses.plain)
    }

    /// Sends a frame and reads one; `None`: the broker closed the connection.
    pub fn exchange(&mut self, who: Who, bytes: &[u8]) -> Result<Option<Bytes>> {
        let kept = self.connections.remove(&who);
        let mut connection = kept.map_or_else(|| self.connect(who), Ok)?;
        match connection.send(bytes).and_then(|()| connection.receive()) {
            Ok(answer) => {
                self.connections.insert(who, connection);
                Ok(Some(answer))
            }
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(error).context("no answer"),
        }
    }

    fn connect(&self, who: Who) -> Result<Connection> {
        match who {
            Who::Administrator => Ok(self.connection()?),
            Who::Stranger => Ok(Connection::try_open(&self.addresses.sasl)?),
            Who::Nobody => {
                let mut connection = Connection::try_open(&self.addresses.sasl)?;
                match connection.scram(NOBODY, PASSWORD)? {
                    ErrorCode::None => Ok(connection),
                    code => bail!("{NOBODY} is not let in: {}", code.name()),
                }
            }
        }
    }

    /// The versions that it announces, of the APIs that are known.
    pub fn announced(&mut self) -> Result<BTreeMap<ApiKey, RangeInclusive<i16>>> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID,
            client_software_version: "1".into(),
        };
        let answer = self.call(Who::Administrator, 4, &request)?;
        let answer = answer.context("ApiVersions is answered")?;
        Ok(answer
            .api_keys
            .iter()
            .filter_map(|api| {
                let key = ApiKey::try_from(api.api_key).ok()?;
                Some((key, api.min_version..=api.max_version))
            })
            .collect())
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
