//! The operator on Kubernetes: flags, start, serve, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use flotilla_operator::apply::Writer;
use flotilla_operator::cache::Cache;
use flotilla_operator::controllers::{self, Context};
use flotilla_operator::lease::{Election, Held};
use flotilla_operator::metrics::Metrics;
use flotilla_operator::options::{Flags, Options};
use flotilla_operator::probes::{Health, Phase, Probes};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How long a connection to the API server may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More would cost memory and gain nothing: the operator waits, mostly.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let options = match Options::new(flags, |variable| std::env::var(variable).ok()) {
        Ok(options) => options,
        Err(error) => return wrong(&error.to_string()),
    };
    // The client logs each refusal as an error, and whoever sent the request does too.
    let filter = match EnvFilter::try_new(format!("kube_client::client::builder=off,{}", options.log)) {
        Ok(filter) => filter,
        Err(error) => return wrong(&format!("FLOTILLA_LOG: `{}`: {error}", options.log)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build();
    let ended = runtime
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(serve(options)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\nFor more information, try '--help'.");
    ExitCode::from(2)
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone())?);
    let metrics = Metrics::new();
    let health = Health::default();
    let probes = Probes::bind(options.site.bind, options.listen_port)
        .await
        .with_context(|| format!("cannot listen on port {}", options.listen_port))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = options.instance,
        address = %probes.address()?,
        "started"
    );
    tokio::spawn(probes.serve(health.clone(), metrics.clone()));

    let client = connect().await?;
    let writer = Writer::new(client.clone(), &options.instance, metrics.clone());
    let election = options.lease.as_ref().map(|lease| {
        let namespace = &options.site.operator_namespace;
        Election::new(
            client.clone(),
            writer.clone(),
            metrics.clone(),
            namespace,
            lease,
            &options.instance,
        )
    });
    let mut held = None;
    if let Some(election) = &election {
        health.set(Phase::Waiting);
        held = shutdown.run_until_cancelled(election.acquire()).await;
        if held.is_none() {
            return Ok(());
        }
    }
    health.set(Phase::Reading);
    tracing::info!("working");

    let stopped = CancellationToken::new();
    let cache = Cache::start(client, &options.namespaces, &metrics, &stopped);
    tokio::spawn(working_once_synced(cache.clone(), health.clone()));
    let context = Arc::new(Context::new(writer, cache, options.site, metrics));
    let work = controllers::run(context, shutdown.clone());
    let lost = keep(election.as_ref(), held.as_mut());
    tokio::select! {
        () = work => {}
        // Whatever is under way ends here and now: the other instance works already.
        lost = lost => anyhow::bail!(lost),
    }
    health.set(Phase::Stopping);
    stopped.cancel();
    if let (Some(election), Some(held)) = (election, held) {
        election.release(held).await;
    }
    tracing::info!("stopped");
    Ok(())
}

async fn connect() -> anyhow::Result<Client> {
    let mut config = Config::infer()
        .await
        .context("neither in a pod nor is there a kubeconfig")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).context("cannot make a client of Kubernetes")
}

/// Renews the lease until it is lost; without one, for ever.
async fn keep(election: Option<&Election>, held: Option<&mut Held>) -> String {
    match (election, held) {
        (Some(election), Some(held)) => election.keep(held).await.to_string(),
        _ => std::future::pending().await,
    }
}

async fn working_once_synced(cache: Cache, health: Health) {
    cache.synced().await;
    health.set(Phase::Working);
}

/// Ends in order at the first signal, at once at the second.
fn cancel_on_signal(shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
    Ok(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signalled().await;
        tracing::info!("stopping");
        shutdown.cancel();
        signalled().await;
        std::process::exit(1);
    })
}
