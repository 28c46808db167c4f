//! What the reader of mail and those who start it share, and with the feature `program` the reader itself.

pub mod document;
pub mod protocol;

#[cfg(feature = "program")]
pub mod confine;
#[cfg(feature = "program")]
pub mod convert;
#[cfg(feature = "program")]
pub mod lookup;
#[cfg(feature = "program")]
pub mod message;
#[cfg(feature = "program")]
pub mod render;
#[cfg(feature = "program")]
pub mod verify;
