//! A program of others, as a process that ends with its value. It may be told what to do on its standard input, a line a command; each
//! command's answers end with `done` or `failed WHY`.

use std::io::{Seek, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::eventually::eventually;
use crate::fleet::{lines_of, signal};

/// How long an answer may take, if nothing else is said: a program that hangs is a finding, not a reason to hang with it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// A program that runs; it ends with the value.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    /// How long each answer may take.
    within: Duration,
    complaints: std::fs::File,
}

impl Process {
    /// Starts it; `name` is for messages.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let complaints = tempfile::tempfile().expect("a file for what the program complains of");
        let mut child = command
            // The libraries of the system, not the librdkafka that is built for the tests.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().expect("the same file"))
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let answers = lines_of(&mut child);
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            answers,
            within: ANSWERS_WITHIN,
            complaints,
        }
    }

    /// The same, where each answer may take that long.
    pub fn answering_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Which one it is, for the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a chance to say goodbye.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill a process of one's own");
        self.child.wait().expect("wait for it");
    }

    /// Asks it to stop, by a signal, and waits until it has.
    pub fn stop(&mut self, within: Duration) {
        signal(self.id(), Signal::TERM);
        eventually(within, &format!("{} to stop", self.name), || {
            match self.child.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Who it is, for messages.
    pub fn name(&self) -> &str {
        &self.name
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
        let answer = self.answers.recv_timeout(self.within).unwrap_or_else(|error| {
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

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            let _ = self.complaints.rewind();
            let _ = std::io::Read::read_to_string(&mut self.complaints, &mut text);
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            eprintln!("{} complained:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
