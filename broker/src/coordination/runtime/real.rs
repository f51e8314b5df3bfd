//! Tokio's threads, and the clock and randomness of the system.

use std::io;

use tokio::task::JoinHandle;

/// What openraft runs on.
pub use openraft::TokioRuntime as Runtime;

/// Starts a task.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Runs what waits for the disk where waiting does no harm.
///
/// # Errors
/// When the work panicked, or the runtime ends before it was begun.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
