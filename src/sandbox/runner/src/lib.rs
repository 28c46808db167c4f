//! What the runner and those who start it share: the protocol on the socket between them.

pub mod probe;
pub mod protocol;
pub mod seccomp;
