//! Runs the suite inside namespaces of its own, so that nothing outlives it: processes, networks and mounts go with the first
//! process in there, and that one goes with the one outside, however that ends.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Says to the process inside where it may write.
const DIRECTORY: &str = "FLOTILLA_CHAOS_DIRECTORY";

/// Directories of runs: what a run left that was killed is taken away by the next one.
const PREFIX: &str = "flotilla-chaos-";

/// The directory of the run, when this is the process inside.
pub fn directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// Runs this program again inside, with these arguments. Gives its exit code.
pub fn enter(arguments: &[String]) -> anyhow::Result<i32> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the chaos suite makes networks and file systems of its own: run it as root"
    );
    clean();
    let directory = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir()
        .context("cannot make a directory for the run")?;
    let lock = std::fs::File::create(directory.path().join("lock")).context("cannot write the run's lock")?;
    lock.lock().context("cannot take the run's lock")?;
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
        ])
        .args(["--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().context("cannot find this program")?)
        .args(arguments)
        .env(DIRECTORY, directory.path())
        // Ctrl-C is for the process outside, with which all inside ends.
        .process_group(0);
    let status = command.status().context("cannot start setpriv and unshare")?;
    status.code().context("the run was killed")
}

/// Gives the namespaces what they need: a directory for names of networks that nobody else sees.
pub fn furnish() -> anyhow::Result<()> {
    crate::switch::run("mount", &["-t", "tmpfs", "-o", "mode=755", "run", "/run"])?;
    std::fs::create_dir_all("/run/netns").context("cannot make /run/netns")
}

/// Takes away directories of runs that were killed.
fn clean() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if is_left_over(&path) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn is_left_over(path: &Path) -> bool {
    let named = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    // Without a lock it may be one that is just being made.
    named && std::fs::File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}
