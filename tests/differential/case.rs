//! A request with what must be there before it, and what it must be answered with.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use anyhow::Result;
use bytes::Bytes;
use flotilla_protocol::{ApiKey, ErrorCode, Request};

use crate::answer::{Outcome, Value};
use crate::broker::Who;
use crate::scene::Scene;

/// What Apache Kafka does with a request. That a case is rightly made is held against Kafka itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// The one error in the answer; [`ErrorCode::None`]: there is none.
    Answer(ErrorCode),
    /// The connection is closed.
    Closed,
}

impl From<ErrorCode> for Expected {
    fn from(code: ErrorCode) -> Self {
        Self::Answer(code)
    }
}

impl Expected {
    pub fn fits(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Closed, Outcome::Closed) => true,
            (Self::Answer(ErrorCode::None), Outcome::Answer(value)) => value.errors().is_empty(),
            (Self::Answer(code), Outcome::Answer(value)) => value.errors().contains(&code),
            _ => false,
        }
    }
}

type Ask = Box<dyn Fn(&mut Scene, Who) -> Result<Outcome> + Send + Sync>;

pub struct Case {
    pub api: ApiKey,
    pub name: &'static str,
    /// Of those that Kafka announces.
    pub versions: RangeInclusive<i16>,
    /// From which version on what is expected.
    pub expected: Vec<(i16, Expected)>,
    /// The list of the answer in which only what the case made counts: other cases leave things behind.
    pub own: Option<&'static str>,
    who: Who,
    ask: Ask,
}

/// A case that builds its request in each version, after it has called for what must be there.
pub fn case<R>(
    name: &'static str,
    expected: impl Into<Expected>,
    build: impl Fn(&mut Scene) -> Result<R> + Send + Sync + 'static,
) -> Case
where
    R: Request,
    R::Response: Debug,
{
    let ask = move |scene: &mut Scene<'_>, who: Who| -> Result<Outcome> {
        let request = build(scene)?;
        let version = scene.version;
        let answer = scene.broker.call(who, version, &request)?;
        Ok(answer.map_or(Outcome::Closed, |answer| Outcome::Answer(Value::of(&answer))))
    };
    Case::new(R::KEY, name, expected.into(), Box::new(ask))
}

/// A case that sends bytes, and reads the answer where there is one.
pub fn raw(
    api: ApiKey,
    name: &'static str,
    expected: impl Into<Expected>,
    build: impl Fn(i16) -> Vec<u8> + Send + Sync + 'static,
    read: impl Fn(Bytes) -> Result<Value> + Send + Sync + 'static,
) -> Case {
    let ask = move |scene: &mut Scene<'_>, who: Who| -> Result<Outcome> {
        match scene.broker.exchange(who, &build(scene.version))? {
            Some(answer) => Ok(Outcome::Answer(read(answer)?)),
            None => Ok(Outcome::Closed),
        }
    };
    Case::new(api, name, expected.into(), Box::new(ask))
}

impl Case {
    fn new(api: ApiKey, name: &'static str, expected: Expected, ask: Ask) -> Self {
        Self {
            api,
            name,
            versions: 0..=i16::MAX,
            expected: vec![(0, expected)],
            own: None,
            who: Who::Administrator,
            ask,
        }
    }

    /// Only in these versions.
    pub fn versions(mut self, versions: RangeInclusive<i16>) -> Self {
        self.versions = versions;
        self
    }

    /// Something else is expected from a version on.
    pub fn since(mut self, version: i16, expected: impl Into<Expected>) -> Self {
        self.expected.push((version, expected.into()));
        self
    }

    /// Only elements that name this case count in a list of the answer.
    pub fn own(mut self, list: &'static str) -> Self {
        self.own = Some(list);
        self
    }

    /// Sent by a user who may do nothing.
    pub fn by_nobody(mut self) -> Self {
        self.who = Who::Nobody;
        self
    }

    /// Sent by somebody who has not authenticated yet.
    pub fn by_a_stranger(mut self) -> Self {
        self.who = Who::Stranger;
        self
    }

    pub fn expected_in(&self, version: i16) -> Expected {
        let of_version = self.expected.iter().rev().find(|(from, _)| version >= *from);
        of_version.expect("the first is from version 0 on").1
    }

    /// Makes what must be there, and asks.
    pub fn ask(&self, scene: &mut Scene) -> Result<Outcome> {
        (self.ask)(scene, self.who)
    }
}
