//! Programs, run to their end.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a program printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Ran {
    pub command: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The standard output of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.success,
            "{} failed:\n{}\n{}",
            self.command, self.stdout, self.stderr
        );
        self.stdout
    }

    /// The standard error of a program that must have failed.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(
            !self.success,
            "{} succeeded:\n{}\n{}",
            self.command, self.stdout, self.stderr
        );
        self.stderr
    }

    /// All that was printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Runs `program` for at most `seconds`: one that hangs is a finding, not a reason to hang with it.
pub fn run(program: &Path, args: &[&str], input: &[u8], seconds: u32) -> Ran {
    let command = format!("{} {}", program.display(), args.join(" "));
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", &seconds.to_string()])
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("it ends")
    });
    Ran {
        command,
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A number that who runs the suite may give in the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{variable} is `{text}`, which is no number: {error}"),
    }
}
