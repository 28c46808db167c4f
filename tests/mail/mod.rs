//! Mail with real servers.

mod receiving;
pub(crate) mod servers;
