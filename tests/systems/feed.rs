//! Work that goes on beside a test until it has seen enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two pieces of work: a steady stream, so that there is something to lose at every moment.
const PAUSE: Duration = Duration::from_millis(2);

/// Does `work` for 0, 1, 2 and so on while `meanwhile` runs; gives how often, and what came of it.
pub fn beside<T>(work: impl FnMut(u32) + Send, meanwhile: impl FnOnce() -> T) -> (u32, T) {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&enough);
        let feed = scope.spawn(|| repeat(work, &enough));
        let came = meanwhile();
        enough.store(true, Ordering::Relaxed);
        (feed.join().expect("the work goes well"), came)
    })
}

fn repeat(mut work: impl FnMut(u32), enough: &AtomicBool) -> u32 {
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        work(number);
        number += 1;
        std::thread::sleep(PAUSE);
    }
    number
}

/// It is enough also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
