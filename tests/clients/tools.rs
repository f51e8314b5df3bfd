//! Runs kcat and the classes of Apache Kafka's tools.

use std::io::Write;
use std::process::{Command, Output, Stdio};

#[path = "libraries.rs"]
pub mod libraries;

/// What a tool printed, and whether it succeeded.
#[derive(Debug)]
pub struct Ran {
    pub command: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The standard output of a tool that must have succeeded.
    pub fn ok(self) -> String {
        assert!(
            self.success,
            "{} failed:\n{}\n{}",
            self.command, self.stdout, self.stderr
        );
        self.stdout
    }

    /// All that was printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// kcat, with `input` on its standard input.
pub fn kcat(args: &[&str], input: &[u8]) -> Ran {
    run(Command::new("kcat").args(args), input)
}

/// A class of Kafka's tools, by its short name or whole.
pub fn java(class: &str, args: &[&str]) -> Ran {
    java_with_input(class, args, b"")
}

/// The same, with something on its standard input.
pub fn java_with_input(class: &str, args: &[&str], input: &[u8]) -> Ran {
    java_with_properties(&[], class, args, input)
}

/// The same, with these properties of the system.
pub fn java_with_properties(properties: &[(&str, String)], class: &str, args: &[&str], input: &[u8]) -> Ran {
    let class = if class.contains('.') {
        class.to_owned()
    } else {
        format!("org.apache.kafka.tools.{class}")
    };
    let mut command = Command::new("java");
    command.args(properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp"])
        .arg(libraries::class_path().expect("Apache Kafka's classes"))
        .arg(&class)
        .args(args);
    run(&mut command, input)
}

fn run(command: &mut Command, input: &[u8]) -> Ran {
    // A tool that hangs is a finding, not a reason to hang with it.
    let shown = format!(
        "{} {}",
        command.get_program().to_string_lossy(),
        command
            .get_args()
            .map(|a| a.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    );
    let mut bounded = Command::new("timeout");
    bounded
        .arg("120")
        .arg(command.get_program())
        .args(command.get_args())
        // The system's kcat with the system's librdkafka: cargo would have it load the one that is built for the tests, without TLS.
        .env_remove("LD_LIBRARY_PATH");
    let mut child = bounded
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {shown}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("wait for the tool");
    feeding.join().expect("the input is fed");
    Ran {
        command: shown,
        success: status.success(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
