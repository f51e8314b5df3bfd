//! What the user sees while something takes time: a line that changes on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line at the bottom.
pub struct Progress {
    bar: Option<ProgressBar>,
    said: String,
}

impl Progress {
    /// A line on standard error, where that is a terminal.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            said: String::new(),
        }
    }

    /// What is being waited for.
    pub fn set(&mut self, message: String) {
        if message == self.said {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(message.clone()),
            None => eprintln!("{message}"),
        }
        self.said = message;
    }

    /// A line that stays.
    pub fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None => eprintln!("{message}"),
        }
    }

    /// Nothing is waited for any more.
    pub fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Lines on standard output that a program may wait for: they are there at once, also in a pipe.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away does not stop a fleet.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
