//! `flotilla up`: a fleet on this machine from the same manifests, brokers, configurations and calls as on Kubernetes. Only
//! where processes come from differs.

mod credentials;
mod locate;
mod manifests;
mod missing;
mod plan;
mod ports;
mod process;
mod reconcile;
mod run;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use process::tie_to_parent;

/// Runs a fleet on this machine, as the manifests in a directory say, and follows edits to them.
///
/// DIR holds one Cluster and its Topics and Users, as for `kubectl apply -f DIR`. Each broker is a process of its own on
/// 127.0.0.1. Once clients can connect, one line `ready: bootstrap=HOST:PORT,...` is printed. Save a changed manifest, and the
/// fleet follows: more partitions, other settings, more brokers. A manifest that cannot be followed is reported by file and
/// line, and the others go on. A User whose manifest is taken away is deleted, and a Topic as its deletionPolicy says.
///
/// Ctrl-C stops the fleet and keeps all data; the next run finds everything again.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory with the manifests, or one file.
    dir: PathBuf,
    /// Directory for the data. Default: .flotilla/NAME, with the name of the Cluster.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// First port to give out, instead of those in the manifest; 0: any that are free. Brokers keep their ports.
    #[arg(long, value_name = "PORT")]
    port_base: Option<u16>,
}

/// Runs until a signal, or until it cannot go on.
pub fn run(arguments: &Arguments) -> ExitCode {
    // One thread, this one: the kernel tells children that their parent died when the thread ends that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(up(arguments)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn up(arguments: &Arguments) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut fleet = run::Fleet::open(arguments).await?;
    let result = tokio::select! {
        result = fleet.run() => result,
        () = signals.next() => Ok(()),
    };
    fleet.stop(signals.next()).await;
    result
}

/// Ctrl-C, and what service managers send.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
