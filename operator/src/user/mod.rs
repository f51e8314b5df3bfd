//! From a User to the command that makes the user so.

mod acls;
mod desired;
mod namespaces;

pub use acls::acls;
pub use desired::apply;
pub use namespaces::{Scope, scope};
