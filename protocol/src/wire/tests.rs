//! The primitive types at their edges.
