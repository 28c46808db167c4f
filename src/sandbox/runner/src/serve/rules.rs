//! The Landlock rules: what of the file system, of TCP and of other processes is within a command's reach.
//!
//! The rights of ABI 2 are required. Whatever later kernels add is used where it is there, because namespaces, mounts and
//! the filter of system calls give those guarantees as well.

use std::{os::fd::OwnedFd, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use nix::sys::stat::{SFlag, fstat};

use super::{fault::Fault, kernel};

/// The oldest version that will do.
const REQUIRED: i32 = 2;

/// Since this version there are rules for TCP.
const PORTS: i32 = 4;

/// Since this version the kernel's audit tells of denials.
pub(crate) const LOGGED: i32 = 7;

/// The newest version that we know.
const NEWEST: i32 = 9;

/// How far a command may go below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Read,
    Write,
}

/// The version that will be used: the kernel's, or an older one if a test says so.
pub(crate) fn version(pretended: Option<i32>) -> i32 {
    kernel::landlock_abi().min(pretended.unwrap_or(NEWEST)).min(NEWEST)
}

/// Makes the rules for those of the paths that are there, with the port that TCP may connect to; they are put in force by [`kernel::landlock_restrict`], as often as needed.
pub(crate) fn make<'a>(
    version: i32,
    port: Option<u16>,
    paths: impl IntoIterator<Item = (&'a Path, Reach)>,
) -> Result<OwnedFd, Fault> {
    if version < REQUIRED {
        return Err(Fault::new("landlock", way_out(version)));
    }
    build(version, port, paths).map_err(|err| Fault::new("landlock", err))
}

/// Why the version does not do, and what would.
pub(crate) fn way_out(version: i32) -> String {
    if version == 0 {
        "the kernel has no Landlock, or not in its list of security modules: add `landlock` to `lsm=` on the kernel command line"
            .to_owned()
    } else {
        format!("the kernel has version {version} of Landlock, {REQUIRED} is needed: use kernel 5.19 or newer")
    }
}

fn build<'a>(
    version: i32,
    port: Option<u16>,
    paths: impl IntoIterator<Item = (&'a Path, Reach)>,
) -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let (required, newest) = (ABI::from(REQUIRED), ABI::from(version));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(required))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?;
    if version >= PORTS {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
    }
    if version >= 6 {
        ruleset = ruleset.scope(Scope::from_all(newest))?;
    }
    let mut created = ruleset.create()?;
    if let Some(port) = port.filter(|_| version >= PORTS) {
        created = created.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    for (path, reach) in paths {
        let mut access: BitFlags<AccessFs> = match reach {
            Reach::Read => AccessFs::from_read(newest),
            Reach::Write => AccessFs::from_all(newest) & !(AccessFs::MakeChar | AccessFs::MakeBlock),
        };
        // What is not there is out of reach without a rule.
        let Ok(there) = PathFd::new(path) else { continue };
        if SFlag::from_bits_truncate(fstat(&there)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
            access &= AccessFs::from_file(newest);
        }
        created = created.add_rule(PathBeneath::new(there, access))?;
    }
    Option::<OwnedFd>::from(created).ok_or_else(|| "the kernel gave no ruleset".into())
}
