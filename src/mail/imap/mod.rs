//! IMAP (RFC 9051, RFC 3501) as far as the assistant needs it.
//!
//! async-imap reads and parses what the server says; commands are said here, so that each has its own end, its own time
//! and its own refusal. Nothing that the server says is believed for its size: see `bounded`.

mod archive;
mod bounded;
mod connection;
mod fetch;
mod folder;
mod idle;
mod login;
mod sent;

pub use self::sent::{append, contains};
pub(super) use self::{
    connection::{Connection, Fault},
    fetch::{Listed, PART},
    idle::Idled,
};
