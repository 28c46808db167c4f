//! What went wrong while the walls were being built, in words for a person.

use std::{fmt, io};

use nix::errno::Errno;

/// A step that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    step: String,
    reason: String,
}

impl Fault {
    pub(crate) fn new(step: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { step: step.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

impl std::error::Error for Fault {}

/// Names the step at which something failed.
pub(crate) trait At<T> {
    fn at(self, step: impl Into<String>) -> Result<T, Fault>;
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, step: impl Into<String>) -> Result<T, Fault> {
        self.map_err(|errno| Fault::new(step, errno.desc()))
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: impl Into<String>) -> Result<T, Fault> {
        self.map_err(|err| match err.raw_os_error() {
            Some(number) => Fault::new(step, Errno::from_raw(number).desc()),
            None => Fault::new(step, err),
        })
    }
}
