//! Every message, in every version: what we write is what others write, and nothing that can be read makes us panic or
//! allocate more than it has bytes.

mod agreement;
mod apis;
mod bounds;
mod cases;
mod sample;
