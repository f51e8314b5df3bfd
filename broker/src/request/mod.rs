//! One file per Kafka API: from a request to an answer, and Kafka's error codes, which are born here and nowhere deeper.

mod context;
mod session;

pub use context::Context;
pub use session::Session;
