//! The processes beside the daemon that a sandbox reaches the world through.
//!
//! `assistant-egress` is a proxy for HTTP and HTTPS with an allow list: the only way out of a sandbox. The daemon tells it
//! by [`control`] which jobs may use it, and hears what they asked for.
//!
//! `assistant-docker` starts containers for sessions of the level `container`, and is the only one that may speak to the
//! container engine. The daemon asks it by [`container`].

pub mod address;
pub mod allow;
pub mod config;
pub mod container;
pub mod control;
#[cfg(feature = "docker")]
pub mod docker;
pub mod egress;
pub mod host;
pub mod journal;
pub mod listen;
pub mod peers;
pub mod program;
pub mod settings;
