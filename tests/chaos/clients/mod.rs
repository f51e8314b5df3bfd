//! Clients that are not ours: librdkafka in this process, Kafka's own in processes of their own.

pub mod java;
pub mod librdkafka;
pub mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A thread that works until it is told to stop.
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Whether to stop.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, but not when it is time to stop.
    pub fn sleep(&self, duration: std::time::Duration) {
        let until = std::time::Instant::now() + duration;
        while !self.is_set() && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20).min(duration));
        }
    }
}

impl Worker {
    pub fn start(work: impl FnOnce(Stop) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Stop(stop.clone());
        Self {
            stop,
            thread: std::thread::spawn(move || work(seen)),
        }
    }

    /// Says so, and does not wait.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until it has ended.
    pub fn stop(self) -> anyhow::Result<()> {
        self.ask_to_stop();
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("a client's thread panicked"))
    }
}
