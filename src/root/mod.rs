//! The confined directory: every workspace path goes through here, and none can lead out of it.

/// The workspace root, held open.
pub struct Root {}
