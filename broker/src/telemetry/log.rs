//! The log: one line an event on standard error, at a level that can be changed while the broker runs.

use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// What is logged where nothing else is asked for. Raft tells of every vote; what matters of it is told by `coordination`.
pub const DEFAULT_FILTER: &str = "info,openraft=error";

/// Changes what is logged.
#[derive(Clone, Default)]
pub struct Level {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    current: Arc<parking_lot::Mutex<String>>,
}

/// A filter that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the notation of `RUST_LOG`.
    #[error("`{filter}` is no log filter: {reason}. Examples: `debug`, `info,flotilla_broker::net=trace`")]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This process logs in a way of its own.
    #[error("the log of this process is not set up by the broker")]
    NotOurs,
}

impl Level {
    /// Sets the process's log up, once. `RUST_LOG` overrides [`DEFAULT_FILTER`]. Where the process has a log already, that
    /// one stays and its level cannot be changed from here.
    ///
    /// # Errors
    /// When `RUST_LOG` is no filter.
    pub fn install() -> Result<Self, Error> {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
        let (layer, handle) = reload::Layer::new(parse(&filter)?);
        let ansi = std::io::stderr().is_terminal();
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
        let installed = tracing_subscriber::registry()
            .with(layer)
            .with(lines)
            .try_init()
            .is_ok();
        let current = Arc::new(parking_lot::Mutex::new(filter));
        Ok(Self {
            handle: installed.then_some(handle),
            current,
        })
    }

    /// What is logged now.
    #[must_use]
    pub fn current(&self) -> String {
        self.current.lock().clone()
    }

    /// Logs by another filter from now on.
    ///
    /// # Errors
    /// When it is no filter; what was logged before is logged on.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        let filter = filter.trim();
        let parsed = parse(filter)?;
        let handle = self.handle.as_ref().ok_or(Error::NotOurs)?;
        let mut current = self.current.lock();
        handle.reload(parsed).map_err(|_| Error::NotOurs)?;
        tracing::info!(from = %current, to = filter, "log level changed");
        filter.clone_into(&mut current);
        Ok(())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    let invalid = |reason: String| Error::Filter {
        filter: filter.to_owned(),
        reason,
    };
    if filter.is_empty() {
        return Err(invalid("it is empty".into()));
    }
    filter
        .parse()
        .map_err(|error: tracing_subscriber::filter::ParseError| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_that_is_none_is_refused_with_an_example() {
        let error = parse("flotilla=loud").expect_err("no such level");
        assert!(
            error.to_string().starts_with("`flotilla=loud` is no log filter"),
            "{error}"
        );
        assert!(parse("").is_err());
        assert!(parse("info,flotilla_broker::net=trace").is_ok());
    }

    #[test]
    fn level_of_a_foreign_log_cannot_be_changed() {
        assert!(matches!(Level::default().set("debug"), Err(Error::NotOurs)));
    }
}
