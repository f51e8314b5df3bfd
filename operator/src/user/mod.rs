//! From a User to the command that makes the user so, and to the Secret beside it.

mod acls;
mod desired;
mod namespaces;
mod secret;
mod status;
#[cfg(test)]
mod testing;

pub use acls::acls;
pub use desired::apply;
pub use namespaces::{Scope, scope};
pub use secret::{Credential, MOUNT_PATH, secret, secret_name};
pub use status::status;
