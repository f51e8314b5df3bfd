//! A library's program, and what it is told.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut, Range};

use super::expected::Number;
use super::libraries::Library;
use crate::process::Process;

/// Where the brokers are, and who asks: `BOOTSTRAP [AUTHORITY USER PASSWORD]`, as programs take it.
pub struct Access(pub Vec<String>);

impl Access {
    /// Without TLS or a user.
    pub fn plain(bootstrap: &str) -> Self {
        Self(vec![bootstrap.to_owned()])
    }
}

/// What a program says of its library.
pub struct About {
    pub version: String,
    pub codecs: Vec<String>,
    abilities: BTreeSet<String>,
}

impl About {
    /// Whether the library can do something.
    pub fn can(&self, ability: &str) -> bool {
        self.abilities.contains(ability)
    }
}

/// A program that runs; it ends with the value.
pub struct Program(Process);

impl Program {
    pub fn start(library: &Library, access: &Access) -> Self {
        Self(Process::start(library.name, library.command().args(&access.0)))
    }

    pub fn about(&mut self) -> About {
        let said = self.ask("about");
        let words = |what: &str| -> Vec<String> {
            said.iter()
                .filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '))
                .flat_map(|rest| rest.split(' ').map(str::to_owned))
                .collect()
        };
        About {
            version: words("version").concat(),
            codecs: words("codecs"),
            abilities: words("can").into_iter().collect(),
        }
    }

    /// Writes records, each of which must be acknowledged.
    pub fn produce(&mut self, topic: &str, codec: &str, numbers: Range<Number>) {
        let count = numbers.len();
        let said = self.ask(&format!("produce {topic} {codec} {} {count}", numbers.start));
        let mut acknowledged: Vec<Number> = said
            .iter()
            .map(|line| {
                acknowledged(line).unwrap_or_else(|| panic!("{}: {topic}, {codec}: {line}", self.name()))
            })
            .collect();
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, numbers.collect::<Vec<_>>(), "{topic}, {codec}");
    }
}

impl Deref for Program {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

/// The number in `acknowledged NUMBER`.
pub fn acknowledged(line: &str) -> Option<Number> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}
