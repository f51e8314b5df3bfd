//! A follower's fetches over one connection after the other, in sessions (KIP-227).

use super::link::{Link, LinkError};
use crate::fetch_session::{Asker, Heard};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use futures::future::BoxFuture;
use std::io;

/// A connection to one leader, while there is one, and the session that lives as long. Fetches that name everything go out as what is different.
#[derive(Default)]
pub(super) struct InSession {
    link: Option<Box<dyn Link>>,
    asker: Asker,
}

impl InSession {
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    pub(super) fn connect(&mut self, link: Box<dyn Link>) {
        self.link = Some(link);
    }

    /// Ends the connection. The next one begins with a new session, and tells the leader to let go of this one.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
        self.asker.begin_anew();
    }

    /// Fetches what `whole` names. Who drops this before it is answered has to disconnect.
    pub(super) fn fetch(&mut self, whole: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>> {
        Box::pin(async move {
            let link = self.link.as_mut();
            let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
            let response = link.fetch(self.asker.shape(whole.clone())).await?;
            if self.asker.heard(&response) == Heard::Answer {
                return Ok(response);
            }
            let response = link.fetch(self.asker.shape(whole)).await?;
            self.asker.heard(&response);
            Ok(response)
        })
    }
}
