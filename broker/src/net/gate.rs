//! What a connection may ask for before it has said who it is, and the way to that.

use super::Shared;
use super::registry::{Proof, Ticket};
use super::sasl::{Exchange, Mechanism, Step};
use crate::auth::Principal;
use crate::clock::now_ms;
use crate::coordination::Metadata;
use crate::request::{Answer, Failure, Session, sasl_authenticate, sasl_handshake};
use crate::telemetry::Outcome;
use bytes::Bytes;
use flotilla_protocol::frame::{self, RequestHeader};
use flotilla_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use flotilla_protocol::{ApiKey, ErrorCode, Message, Reader, Request, Segment};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Who may pass.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether requests other than those of authentication are taken.
    open: bool,
    /// Whether it was SASL that opened it.
    by_sasl: bool,
    /// When the client has to authenticate again (KIP-368).
    expires: Option<Instant>,
    exchange: Option<Exchange>,
}

/// What to do with a request.
pub(super) enum Verdict {
    /// It is an ordinary one: answer it.
    Serve,
    /// It has been answered here.
    Answered(Answer),
    /// It has been answered here, and the connection ends after that.
    AnsweredAndEnds(Answer),
    /// It is a token of an exchange.
    Token(Box<Token>),
    /// Not before authentication.
    Refuse,
}

/// A token to take the exchange a step further.
pub(super) struct Token {
    exchange: Exchange,
    bytes: Bytes,
    /// How to answer; none for a bare token.
    header: Option<RequestHeader>,
}

/// What became of a token.
pub(super) struct Passed {
    /// To the client.
    pub(super) answer: Answer,
    /// Goes on with this.
    exchange: Option<Exchange>,
    /// Who the client is, if that is settled.
    pub(super) session: Option<Accepted>,
    /// Whether the connection ends once the answer is out.
    pub(super) ends: bool,
}

/// A client that is who it says.
pub(super) struct Accepted {
    user: String,
    proof: Proof,
    lifetime: Option<Duration>,
}

impl Gate {
    /// For a connection that needs no authentication, or has shown a certificate.
    pub(super) fn open() -> Self {
        Self {
            open: true,
            by_sasl: false,
            expires: None,
            exchange: None,
        }
    }

    /// For a connection that has to authenticate with SASL first.
    pub(super) fn closed() -> Self {
        Self {
            open: false,
            by_sasl: false,
            expires: None,
            exchange: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the next frame is a token with nothing around it.
    pub(super) fn takes_bare_token(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.bare)
    }

    /// The exchange with a bare token.
    pub(super) fn bare_token(&mut self, bytes: Bytes) -> Option<Token> {
        let exchange = self.exchange.take_if(|exchange| exchange.bare)?;
        Some(Token {
            exchange,
            bytes,
            header: None,
        })
    }

    /// Decides about a request by its header, and reads it if it is one of authentication.
    pub(super) fn admit(
        &mut self,
        api: ApiKey,
        header: &RequestHeader,
        body: &mut Reader,
        shared: &Shared,
    ) -> Result<Verdict, Failure> {
        let may_begin = self.exchange.is_none() && (!self.by_sasl || self.expires.is_some());
        match api {
            ApiKey::SaslHandshake if !shared.mechanisms.is_empty() && may_begin => {
                self.handshake(header, body, shared)
            }
            ApiKey::SaslAuthenticate if self.exchange.is_some() => {
                let request: SaslAuthenticateRequest = read(header, body)?;
                let exchange = self.exchange.take().expect("checked by the arm's guard");
                let bytes = request.auth_bytes;
                Ok(Verdict::Token(Box::new(Token {
                    exchange,
                    bytes,
                    header: Some(header.clone()),
                })))
            }
            ApiKey::ApiVersions if self.exchange.is_none() || self.open => Ok(Verdict::Serve),
            _ if !self.open => Ok(Verdict::Refuse),
            ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Ok(Verdict::Serve),
            _ if self.expires.is_some_and(|end| Instant::now() >= end) => Ok(Verdict::Refuse),
            _ => Ok(Verdict::Serve),
        }
    }

    fn handshake(
        &mut self,
        header: &RequestHeader,
        body: &mut Reader,
        shared: &Shared,
    ) -> Result<Verdict, Failure> {
        let request: SaslHandshakeRequest = read(header, body)?;
        let chosen = shared
            .mechanisms
            .iter()
            .find(|served| request.mechanism == *served.name());
        let served = shared.mechanisms.iter().copied().map(Mechanism::name);
        Ok(match chosen {
            Some(mechanism) => {
                self.exchange = Some(Exchange::new(*mechanism, header.api_version == 0));
                let response = sasl_handshake::response(ErrorCode::None, served);
                Verdict::Answered(write(header, &response)?)
            }
            None => {
                let response = sasl_handshake::response(ErrorCode::UnsupportedSaslMechanism, served);
                tracing::info!(asked = %request.mechanism.chars().take(64).collect::<String>(), "SASL mechanism refused");
                Verdict::AnsweredAndEnds(write(header, &response)?)
            }
        })
    }

    /// Takes over what became of a token. The session of the client from now on, if that is settled; none also where a
    /// client that authenticates again is suddenly somebody else: then the connection has to end.
    pub(super) fn pass(
        &mut self,
        passed: &mut Passed,
        before: &Arc<Session>,
        ticket: &Ticket,
        metadata: &Metadata,
    ) -> Option<Arc<Session>> {
        self.exchange = passed.exchange.take();
        let accepted = passed.session.take()?;
        let principal = Principal::user(&accepted.user);
        if self.by_sasl && principal != before.principal {
            tracing::info!(before = %before.principal, now = %principal, "another user authenticated on one connection");
            passed.ends = true;
            return None;
        }
        self.open = true;
        self.by_sasl = true;
        self.expires = accepted.lifetime.map(|lifetime| Instant::now() + lifetime);
        let by_token = matches!(accepted.proof, Proof::Token(_));
        ticket.authenticated(&accepted.user, accepted.proof, || metadata.image());
        Some(Arc::new(Session {
            principal,
            by_token,
            ..before.as_ref().clone()
        }))
    }
}

fn read<R: Request>(header: &RequestHeader, body: &mut Reader) -> Result<R, Failure> {
    Ok(R::decode(body, header.api_version)?)
}

fn write<M: Message>(header: &RequestHeader, message: &M) -> Result<Answer, Failure> {
    let api = header.api().expect("only known APIs are answered");
    Ok(Answer::Now(frame::response(
        api,
        header.api_version,
        header.correlation_id,
        message,
    )?))
}

/// For how many milliseconds a client may go on before it authenticates again (KIP-368): `connections.max.reauth.ms`, where that
/// is set, and as long as what it showed holds, where that ends. None: for ever.
fn lifetime_ms(reauth_ms: i64, left_ms: Option<i64>) -> Option<i64> {
    let reauth_ms = Some(reauth_ms).filter(|ms| *ms > 0);
    // 0 would tell the client that it may go on for ever.
    let left_ms = left_ms.map(|ms| ms.max(1));
    reauth_ms.into_iter().chain(left_ms).min()
}

/// A token as an answer: bare, or inside SaslAuthenticate.
fn answer(header: Option<&RequestHeader>, token: String, lifetime_ms: i64) -> Result<Answer, Failure> {
    match header {
        Some(header) => write(header, &sasl_authenticate::token(token, lifetime_ms)),
        None => {
            let length = u32::try_from(token.len())
                .expect("tokens are short")
                .to_be_bytes();
            Ok(Answer::Now(vec![
                Segment::Memory(Bytes::copy_from_slice(&length)),
                Segment::Memory(Bytes::from(token)),
            ]))
        }
    }
}

impl Token {
    /// Takes the exchange a step further.
    pub(super) async fn take(self, shared: Arc<Shared>) -> Result<Passed, Failure> {
        let header = self.header;
        let metrics = &shared.broker.telemetry.metrics;
        match self
            .exchange
            .step(&self.bytes, &shared.broker, &shared.secrets)
            .await
        {
            Step::Continue(exchange, token) => {
                let answer = answer(header.as_ref(), token, 0)?;
                Ok(Passed {
                    answer,
                    exchange: Some(exchange),
                    session: None,
                    ends: false,
                })
            }
            Step::Accepted {
                user,
                proof,
                mechanism,
                last,
                expires_ms,
            } => {
                metrics.authenticated(mechanism.name(), Outcome::Accepted);
                tracing::debug!(user, mechanism = mechanism.name(), "authenticated");
                let reauth_ms = shared.broker.settings().connections_max_reauth_ms;
                let lifetime_ms = lifetime_ms(reauth_ms, expires_ms.map(|end| end.saturating_sub(now_ms())));
                let lifetime = lifetime_ms
                    .and_then(|ms| u64::try_from(ms).ok())
                    .map(Duration::from_millis);
                let answer = answer(header.as_ref(), last, lifetime_ms.unwrap_or(0))?;
                let session = Some(Accepted {
                    user,
                    proof,
                    lifetime,
                });
                Ok(Passed {
                    answer,
                    exchange: None,
                    session,
                    ends: false,
                })
            }
            Step::Refused {
                mechanism,
                user,
                reason,
                told,
            } => {
                metrics.authenticated(mechanism.name(), Outcome::Refused);
                tracing::info!(
                    user,
                    mechanism = mechanism.name(),
                    reason,
                    "authentication failed"
                );
                let delay_ms = shared.broker.settings().connection_failed_authentication_delay_ms;
                tokio::time::sleep(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))).await;
                let answer = match header {
                    Some(header) => write(&header, &sasl_authenticate::failure(mechanism.name(), told))?,
                    None => Answer::Silent,
                };
                Ok(Passed {
                    answer,
                    exchange: None,
                    session: None,
                    ends: true,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_lasts_as_long_as_the_shorter_of_both_ends() {
        assert_eq!(lifetime_ms(0, None), None);
        assert_eq!(lifetime_ms(500, None), Some(500));
        assert_eq!(lifetime_ms(500, Some(300)), Some(300));
        assert_eq!(lifetime_ms(500, Some(900)), Some(500));
        assert_eq!(lifetime_ms(0, Some(900)), Some(900));
        assert_eq!(lifetime_ms(0, Some(-5)), Some(1), "not for ever");
    }
}
