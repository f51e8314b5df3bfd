//! A file system of its own for each broker, in an image file that is mounted by a loop device: so it can be small, and its power can
//! be cut. Needs root. The mounts live in a mount namespace that ends with the fleet, and the loop devices with the mounts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::eventually::eventually;
use crate::fleet::{Fleet, signal};

/// Mounts pairs of image and directory, and becomes what stands behind them.
const MOUNT: &str = r#"set -e
while [ "$1" != -- ]; do mount -t ext4 -o loop,noatime "$1" "$2"; shift 2; done
shift
exec "$@""#;

/// Ends the file systems that hold its arguments, at once and without writing anything: `EXT4_IOC_SHUTDOWN`, that is
/// `_IOR('X', 125, __u32)`, with `EXT4_GOING_FLAGS_NOLOGFLUSH`. What was not synced by then never gets to the device.
const SHUT_DOWN: &str = r#"my $flags = pack("I", 2);
for (@ARGV) {
    open(my $file, "<", $_) or die "$_: $!";
    ioctl($file, 0x8004587D, $flags) or die "$_: $!";
}"#;

/// The images, by broker.
pub struct Volumes {
    directory: tempfile::TempDir,
    sizes_mib: BTreeMap<i64, u64>,
}

impl Volumes {
    /// One file system for each of (broker, size in MiB).
    pub fn make(sizes_mib: &[(i64, u64)]) -> Self {
        let volumes = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            sizes_mib: sizes_mib.iter().copied().collect(),
        };
        for (id, mib) in &volumes.sizes_mib {
            let image = std::fs::File::create(volumes.image(*id)).expect("create an image");
            image
                .set_len(mib << 20)
                .expect("make the image as large as asked");
            let mut mkfs = Command::new("mkfs.ext4");
            mkfs.args([
                "-q",
                "-F",
                "-m",
                "0",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
            ]);
            run(mkfs.arg(volumes.image(*id)));
        }
        volumes
    }

    /// Starts a fleet with its data on these volumes.
    pub fn up(&self, fleet: &mut Fleet) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh"]);
        for id in self.sizes_mib.keys() {
            let at = data_of(fleet, *id);
            std::fs::create_dir_all(&at).expect("create the data directory");
            command.arg(self.image(*id)).arg(at);
        }
        command.arg("--");
        fleet.up_within(command);
    }

    /// Takes the power from all machines at once: every process stands still, then every file system ends as it is on its device,
    /// then nothing is left.
    pub fn cut_power(&self, fleet: &mut Fleet) {
        let brokers = self.sizes_mib.keys().map(|id| fleet.pid_of(*id));
        let all: Vec<u32> = std::iter::once(fleet.up_pid()).chain(brokers).collect();
        for pid in &all {
            signal(*pid, Signal::STOP);
        }
        for pid in &all {
            eventually(Duration::from_secs(10), "a process to stand still", || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.contains(") T ").then_some(()).ok_or(stat)
            });
        }
        let mounts = self
            .sizes_mib
            .keys()
            .map(|id| fleet.seen_by_up(&data_of(fleet, *id)));
        run(Command::new("perl").args(["-e", SHUT_DOWN]).args(mounts));
        for pid in &all[1..] {
            signal(*pid, Signal::KILL);
        }
        fleet.kill();
        self.wait_until_unmounted();
    }

    /// Waits until the last process is gone that held the mounts, and with it the loop devices: an image must not be mounted twice.
    pub fn wait_until_unmounted(&self) {
        for id in self.sizes_mib.keys() {
            eventually(Duration::from_secs(60), "a volume to be unmounted", || {
                let held = Command::new("losetup").arg("-j").arg(self.image(*id)).output();
                let held = held.expect("run losetup").stdout;
                held.is_empty()
                    .then_some(())
                    .ok_or_else(|| String::from_utf8_lossy(&held).into_owned())
            });
        }
    }

    fn image(&self, id: i64) -> PathBuf {
        self.directory.path().join(format!("broker-{id}.ext4"))
    }
}

/// Where a broker has its data.
pub fn data_of(fleet: &Fleet, id: i64) -> PathBuf {
    fleet.data().join(format!("brokers/{id}/data"))
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
