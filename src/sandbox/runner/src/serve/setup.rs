//! What a child needs to know between the fork and the command, prepared by the runner.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::{
    beneath,
    confine::{Confinement, Failure},
    kernel::{self, attr},
    protect::{self, Hold},
    report::Step,
};

/// All of it.
pub(crate) struct Setup {
    pub(crate) confinement: Confinement,
    /// Whether the session's root shows a `/proc`, which is to be replaced.
    pub(crate) proc: bool,
    /// The workspace as commands see it.
    pub(crate) workspace: CString,
    /// Whether it is to be mounted read-only.
    pub(crate) read_only: bool,
    /// Mounts on protected paths, if the child has a mount namespace of its own.
    pub(crate) holds: Vec<(CString, Hold)>,
    /// Relative to the workspace.
    pub(crate) working_directory: CString,
}

impl Setup {
    /// Makes the mounts of this command and opens its working directory.
    pub(crate) fn enter_workspace(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let workspace = openat(AT_FDCWD, self.workspace.as_c_str(), flags, Mode::empty())
            .map_err(|errno| (Step::Workspace, 0, errno))?;
        if self.read_only {
            kernel::add_attributes(workspace.as_fd(), attr::RDONLY, true)
                .map_err(|errno| (Step::ReadOnly, 0, errno))?;
        }
        for (index, (path, hold)) in self.holds.iter().enumerate() {
            protect::apply(workspace.as_fd(), path, *hold).map_err(|errno| (Step::Protect, index, errno))?;
        }
        beneath::directory(workspace.as_fd(), &self.working_directory)
            .map_err(|errno| (Step::WorkingDirectory, 0, errno))
    }
}
