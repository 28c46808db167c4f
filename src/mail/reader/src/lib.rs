//! What the reader of mail and those who start it share.

pub mod protocol;
