//! Fetch sessions (KIP-227): who fetches names its partitions once and then only what is different, and is answered only with what is news. A
//! follower of ten thousand partitions sends and reads a few lines in place of ten thousand.
//!
//! [`Session`] and [`Cache`] are the leader's half, [`Asker`] is the follower's. Consumers bring their own half.

mod asker;
mod cache;
mod session;

pub use asker::{Asker, Heard};
pub use cache::{Cache, Candidate};
pub use session::{Refusal, Session};

/// Names no session.
pub const NO_SESSION: i32 = 0;
/// A fetch that names all its partitions, and would have a session.
pub const INITIAL_EPOCH: i32 = 0;
/// A fetch that names all its partitions, and wants no session.
pub const FINAL_EPOCH: i32 = -1;

/// The epoch of the fetch after one of `epoch`. It never comes back to [`INITIAL_EPOCH`].
#[must_use]
pub fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}
