//! Receiving: one connection to the mailbox, messages in their order, each into a file and then to be decided about.

mod store;

pub use self::store::{advance, cursor};
