//! Whether a broker has looked at all that lies on its disk, and found it, or made it, what was written there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

use crate::fleet::ADMIN_PORT;
use crate::switch;

/// How long a broker may take to say its numbers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A round may have begun before the damage was done: the one after it did not.
const ROUNDS: u64 = 2;

/// Follows one broker's own look at its disk.
pub struct Soundness {
    broker: usize,
    /// Its rounds when it was asked first, since it started last.
    first: Option<u64>,
}

impl Soundness {
    pub fn of(broker: usize) -> Self {
        Self { broker, first: None }
    }

    /// Whether all was looked at since, and nothing is broken. Says what is missing.
    pub fn is_shown(&mut self) -> Result<(), String> {
        let broker = self.broker;
        let page = numbers(broker).map_err(|error| format!("broker {broker} says no numbers: {error:#}"))?;
        let number = |name: &str| {
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.and_then(|value| value.trim().parse::<u64>().ok());
            value.ok_or_else(|| format!("broker {broker} does not say {name}"))
        };
        let rounds = number("flotilla_scrub_rounds_total")?;
        let first = self.first.get_or_insert(rounds);
        // It was started again.
        *first = rounds.min(*first);
        if rounds < *first + ROUNDS {
            return Err(format!("broker {broker} has not read all of its disk again"));
        }
        match number("flotilla_broken_partitions")? {
            0 => Ok(()),
            broken => Err(format!(
                "on broker {broker}, records of {broken} partitions are broken"
            )),
        }
    }
}

fn numbers(broker: usize) -> anyhow::Result<String> {
    let address = SocketAddr::from((switch::address(broker), ADMIN_PORT));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, page) = answer.split_once("\r\n\r\n").context("it is no answer of HTTP")?;
    Ok(page.to_owned())
}
