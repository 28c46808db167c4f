//! Mail with real servers.

mod attachments;
mod documents;
mod receiving;
mod sending;
pub(crate) mod servers;
mod smtp;
mod thread;
