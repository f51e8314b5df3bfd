//! Java programs of the suite, and the classes of what is tested.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apache::java::libraries;

const INSTALL: &str = "tests/systems/install";

/// Where `tests/systems/install` put something.
pub fn installed(place: &str) -> PathBuf {
    libraries::installed::place(&format!("systems/{place}"), INSTALL).expect("the systems")
}

/// A file of a system's program.
pub fn program(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/systems/programs")
        .join(path)
}

/// A JVM with the classes of a system, which ends with this program, however that ends, and leaves what it leaves in that directory. What
/// it runs is still to be said.
pub fn jvm(system: &str, directory: &Path, settings: &[&str]) -> Command {
    jvm_with(system, None, directory, settings)
}

/// The same, with further classes.
pub fn jvm_with(system: &str, classes: Option<&Path>, directory: &Path, settings: &[&str]) -> Command {
    let jars = installed(system).join("*");
    let path = match classes {
        Some(classes) => format!("{}:{}", classes.display(), jars.display()),
        None => jars.display().to_string(),
    };
    let mut command = bound();
    command
        .args([
            "java",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
        ])
        .arg(format!("-Djava.io.tmpdir={}", directory.display()))
        .args(settings)
        .args(["-cp", &path]);
    command
}

/// Compiles a program, for systems that send its classes around.
pub fn compile(system: &str, source: &str) -> tempfile::TempDir {
    let classes = tempfile::tempdir().expect("a directory for classes");
    let jars = std::fs::read_dir(installed(system)).expect("list a system's jars");
    let jars: Vec<_> = jars
        .flatten()
        .map(|jar| jar.path().display().to_string())
        .collect();
    let mut compiler = Command::new("java");
    compiler
        .args(["--module", "jdk.compiler/com.sun.tools.javac.Main"])
        .args(["-cp", &jars.join(":"), "-d"])
        .arg(classes.path())
        .arg(program(source));
    let compiled = compiler.output().expect("start the compiler");
    assert!(
        compiled.status.success(),
        "{source}: {}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    classes
}

/// Becomes the program that its further arguments say, which ends with the thread that starts it, however that ends.
pub fn bound() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}
