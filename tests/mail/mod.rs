//! Mail with real servers.

mod attachments;
mod command_line;
mod documents;
mod killed;
mod receiving;
mod sending;
pub(crate) mod servers;
mod smtp;
mod thread;
