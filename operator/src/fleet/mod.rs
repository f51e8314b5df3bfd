//! The only room that speaks to brokers. It follows every fleet by one stream of changes, so that reconciling reads what is known
//! here and asks nothing, and it carries every command, each with a deadline, to any broker that answers: that one reaches the
//! controller of the fleet.

mod access;
mod calls;
mod error;
mod fleets;
mod follow;
mod plan;
mod view;

pub use access::Access;
pub use calls::{Answer, CALL_TIMEOUT, VOTER_TIMEOUT};
pub use error::Error;
pub use fleets::{Change, Changes, Fleets};
pub use follow::{Fleet, Sight};
pub use view::{View, What, is_moving, target};
