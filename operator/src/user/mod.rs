//! From a User, and what is known of the fleet, to the command that makes the user so, to the Secret beside it, and to what users are
//! told.

mod acls;
mod admission;
mod claim;
mod departure;
mod desired;
mod difference;
mod held;
mod namespaces;
mod news;
mod secret;
mod status;
#[cfg(test)]
mod testing;

pub use acls::acls;
pub use admission::{Granted, admit, granted, rules};
pub use claim::{conflict, eldest, unowned};
pub use departure::{Departure, Reached, depart};
pub use desired::{apply, request};
pub use difference::{Difference, Sent, difference};
pub use held::{HeldSecret, held, is_of, note_issuer, stale};
pub use namespaces::{Scope, scope};
pub use news::{applied, turn};
pub use secret::{Credential, MOUNT_PATH, answer_name, check_password, check_source, secret, secret_name};
pub use status::{status, status_paused};
