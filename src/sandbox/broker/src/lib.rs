//! The processes beside the daemon that a sandbox reaches the world through.
