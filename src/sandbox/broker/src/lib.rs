//! The processes beside the daemon that a sandbox reaches the world through.
//!
//! `assistant-egress` is a proxy for HTTP and HTTPS with an allow list: the only way out of a sandbox. The daemon tells it
//! by [`control`] which jobs may use it, and hears what they asked for.

pub mod address;
pub mod allow;
pub mod config;
pub mod control;
pub mod egress;
pub mod host;
pub mod listen;
