//! The plugin without which Apache Kafka does not serve client metrics (KIP-714).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::apache::java::libraries;
use crate::apache::process::CommandLine;

/// The class, as `metric.reporters` names it.
pub const CLASS: &str = "TelemetryReceiver";

/// Compiles it into a directory, and has a command that runs Kafka find it there.
pub fn add_to(command: &mut CommandLine, directory: &Path) -> anyhow::Result<()> {
    let classes = compile(directory)?;
    let path = command
        .iter()
        .position(|argument| argument == "-cp")
        .and_then(|place| command.get_mut(place + 1))
        .context("Kafka is run without a class path")?;
    path.push(":");
    path.push(classes);
    Ok(())
}

fn compile(directory: &Path) -> anyhow::Result<PathBuf> {
    let classes = directory.join("classes");
    let source = format!(
        "{}/../tests/differential/{CLASS}.java",
        env!("CARGO_MANIFEST_DIR")
    );
    let arguments = [
        "--module".into(),
        "jdk.compiler/com.sun.tools.javac.Main".into(),
        "-cp".into(),
        jars()?,
        "-d".into(),
        classes.clone().into_os_string(),
        source.into(),
    ];
    let compiled = Command::new("java")
        .args(arguments)
        .output()
        .context("cannot start java")?;
    anyhow::ensure!(
        compiled.status.success(),
        "{CLASS} is not compiled: {}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    Ok(classes)
}

/// Kafka's jars one by one: the compiler, unlike the JVM, takes no wildcard.
fn jars() -> anyhow::Result<OsString> {
    let class_path = libraries::class_path().map_err(anyhow::Error::msg)?;
    let directory = Path::new(&class_path)
        .parent()
        .context("the class path is no directory's")?;
    let jars: Result<Vec<_>, _> = std::fs::read_dir(directory)?
        .map(|jar| jar.map(|jar| jar.path().into_os_string()))
        .collect();
    Ok(jars?.join(OsStr::new(":")))
}
