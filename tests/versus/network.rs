//! A network of the comparison's own: loopback alone, and the congestion control that Linux has by default, whatever the machine is set to. BBR, for one,
//! sets a timer for each packet, also on loopback, which in a virtual machine costs more than to send it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::machine::CONGESTION_CONTROL;

/// Says to the process inside that it is.
const INSIDE: &str = "FLOTILLA_VERSUS_INSIDE";
const DEFAULT: &str = "cubic";

/// Runs this program again inside of such a network, with the same arguments; returns inside.
pub fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return furnish();
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let error = command
        .arg("--")
        .arg(std::env::current_exe().context("cannot find this program")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot start unshare, which makes a network for the comparison")
}

fn furnish() -> anyhow::Result<()> {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let up = up.context("cannot start ip, which sets up the network of the comparison")?;
    anyhow::ensure!(up.success(), "ip cannot set up the network of the comparison");
    std::fs::write(CONGESTION_CONTROL, DEFAULT)
        .with_context(|| format!("cannot set {CONGESTION_CONTROL} to {DEFAULT}"))
}
