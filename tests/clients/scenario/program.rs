//! A library's program: told what to do on its standard input, a line a command; each command's answers end with `done` or `failed WHY`.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::expected::Number;
use super::libraries::Library;
use crate::fleet::lines_of;

/// How long a command may take: a library that hangs is a finding, not a reason to hang with it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

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
pub struct Program {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: std::fs::File,
}

impl Program {
    pub fn start(library: &Library, access: &Access) -> Self {
        let complaints = tempfile::tempfile().expect("a file for what the program complains of");
        let mut child = library
            .command()
            .args(&access.0)
            // The libraries of the system, not the librdkafka that is built for the tests.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().expect("the same file"))
            .spawn()
            .unwrap_or_else(|error| panic!("start the program of {}: {error}", library.name));
        let answers = lines_of(&mut child);
        Self {
            name: library.name,
            stdin: child.stdin.take(),
            child,
            answers,
            complaints,
        }
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
                acknowledged(line).unwrap_or_else(|| panic!("{}: {topic}, {codec}: {line}", self.name))
            })
            .collect();
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, numbers.collect::<Vec<_>>(), "{topic}, {codec}");
    }

    /// Gives a command and waits for all its answers.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        self.tell(command);
        self.rest(command)
    }

    /// Gives a command.
    pub fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        writeln!(stdin, "{command}")
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("{}: {command}: {error}", self.name));
    }

    /// The answers that are still to come.
    pub fn rest(&mut self, command: &str) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next(command) {
            answers.push(answer);
        }
        answers
    }

    /// The next answer; none when the command is done.
    pub fn next(&mut self, command: &str) -> Option<String> {
        let started = Instant::now();
        let answer = self.answers.recv_timeout(ANSWERS_WITHIN).unwrap_or_else(|error| {
            panic!("{}: {command}: {error} after {:?}", self.name, started.elapsed())
        });
        assert!(
            !answer.starts_with("failed"),
            "{}: {command}: {answer}",
            self.name
        );
        (answer != "done").then_some(answer)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            let _ = self.complaints.rewind();
            let _ = std::io::Read::read_to_string(&mut self.complaints, &mut text);
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            eprintln!("the program of {} complained:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number in `acknowledged NUMBER`.
pub fn acknowledged(line: &str) -> Option<Number> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}
