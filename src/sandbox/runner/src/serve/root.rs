//! The file system that commands see: a read-only root made of the host's `/usr` and the few of `/etc` that programs
//! need, the workspace, a temporary directory and a few devices. Everything else of the host is not hidden but absent.

use std::{
    ffi::{CStr, CString},
    fs,
    io::Write as _,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, SFlag, mkdirat, mknodat, stat},
    unistd::{self, fchdir, pivot_root, symlinkat},
};

use super::{
    etc::{self, Part},
    fault::{At as _, Fault},
    kernel::{self, attr},
    namespaces,
};

/// Where commands find the workspace.
pub(crate) const WORKSPACE: &str = "/workspace";

/// Their home, made new for each session.
pub(crate) const HOME: &str = "/tmp/home";

const SAFE: u64 = attr::NOSUID | attr::NODEV;

/// Beside `/usr`: a link where the host has merged them, else a directory of its own.
const SYSTEM: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Bytes of a file that is copied and not mounted: each command has mounts of its own, and pays for every one of them.
const COPIED: u64 = 16 << 10;

const DEVICES: [&CStr; 5] = [c"null", c"zero", c"full", c"random", c"urandom"];

/// The working directory as a mount in which it belongs to `user`, whoever it belongs to on disk; none if it is his
/// anyway. As root. What commands make in it belongs to its owner afterwards.
pub(crate) fn workspace_of(user: (u32, u32)) -> Result<Option<OwnedFd>, Fault> {
    let found = stat(".").at("workspace")?;
    let owner = (found.st_uid, found.st_gid);
    if owner.0 == user.0 {
        return Ok(None);
    }
    let tree = kernel::clone_tree(AT_FDCWD, c"").at("workspace")?;
    kernel::add_attributes(tree.as_fd(), SAFE, true).at("workspace")?;
    let namespace = namespaces::owner_as_user(owner, user)?;
    kernel::map_owners(tree.as_fd(), namespace.as_fd()).map_err(|errno| {
        let way_out = format!("its file system cannot show it as uid {}'s: give it to that uid with chown -R", user.0);
        Fault::new("workspace", format!("{}; {way_out}", errno.desc()))
    })?;
    Ok(Some(tree))
}

/// Builds it and makes it the root of this process. The workspace is the working directory, or this mount of it.
/// Says whether the host's `/proc` is at `/proc`, as the kernel wants to see it before it gives a command a new one.
pub(crate) fn enter(uid: u32, gid: u32, tmp_bytes: u64, workspace: Option<OwnedFd>) -> Result<bool, Fault> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).at("private mounts")?;
    // Copies of everything first: the new root then covers a directory of the old one.
    let mut trees = Vec::new();
    let mut take = |source: &CStr, target: CString, directory: bool, attributes: u64| -> nix::Result<()> {
        let tree = kernel::clone_tree(AT_FDCWD, source)?;
        kernel::add_attributes(tree.as_fd(), attributes, true)?;
        trees.push((tree, target, directory));
        Ok(())
    };
    if workspace.is_none() {
        take(c"", text("workspace")?, true, SAFE).at("workspace")?;
    }
    take(c"/usr", text("usr")?, true, SAFE | attr::RDONLY).at("/usr")?;
    for name in DEVICES {
        let source = text(Path::new("/dev").join(os(name)))?;
        let target = text(Path::new("dev").join(os(name)))?;
        let attributes = attr::NOSUID | attr::NOEXEC | attr::RDONLY;
        take(&source, target, false, attributes).at(format!("/dev/{}", os(name).display()))?;
    }
    let mut links = Vec::new();
    let mut files = Vec::new();
    let shared = etc::SHARED.into_iter().map(|name| Path::new("etc").join(name));
    for target in SYSTEM.into_iter().map(PathBuf::from).chain(shared) {
        let path = Path::new("/").join(&target);
        match Part::of(&path, COPIED)? {
            None => {}
            Some(Part::Link(to)) => links.push((to, text(target)?)),
            Some(Part::Copy(content)) => files.push((text(target)?, content)),
            Some(Part::Mount { directory }) => {
                let attributes = SAFE | attr::RDONLY;
                take(&text(&path)?, text(target)?, directory, attributes).at(path.display().to_string())?;
            }
        }
    }
    let proc_visible = take(c"/proc", text("proc")?, true, 0).is_ok();
    if let Some(workspace) = workspace {
        trees.push((workspace, text("workspace")?, true));
    }

    let root = kernel::new_mount(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"4m")], SAFE).at("root")?;
    let dir = |path: &str| -> Result<(), Fault> {
        match mkdirat(&root, path, Mode::from_bits_truncate(0o755)) {
            Err(errno) if errno != Errno::EEXIST => Err(Fault::new(format!("root: /{path}"), errno.desc())),
            _ => Ok(()),
        }
    };
    for path in ["dev", "dev/shm", "etc", "proc", "tmp", "var"] {
        dir(path)?;
    }
    for (target, name) in [(c"/proc/self/fd", c"dev/fd"), (c"/proc/self/fd/0", c"dev/stdin")]
        .into_iter()
        .chain([(c"/proc/self/fd/1", c"dev/stdout"), (c"/proc/self/fd/2", c"dev/stderr"), (c"../tmp", c"var/tmp")])
        .chain(links.iter().map(|(target, name)| (target.as_c_str(), name.as_c_str())))
    {
        symlinkat(target, &root, name).at(format!("root: {}", os(name).display()))?;
    }
    for (name, content) in etc::own(uid, gid) {
        files.push((text(Path::new("etc").join(name))?, content.into_bytes()));
    }
    for (target, content) in &files {
        write_file(root.as_fd(), target, content).at(format!("root: {}", os(target).display()))?;
    }
    for (_, target, directory) in &trees {
        if *directory {
            dir(&os(target).to_string_lossy())?;
        } else {
            let mode = Mode::from_bits_truncate(0o644);
            mknodat(&root, target.as_c_str(), SFlag::S_IFREG, mode, 0).at(format!("root: {}", os(target).display()))?;
        }
    }

    kernel::attach(root.as_fd(), AT_FDCWD, c"/usr").at("root")?;
    for (tree, target, _) in &trees {
        kernel::attach(tree.as_fd(), root.as_fd(), target).at(format!("/{}", os(target).display()))?;
    }
    fchdir(&root).at("root")?;
    pivot_root(".", ".").at("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).at("the old root")?;
    unistd::chdir("/").at("root")?;
    temporary(tmp_bytes).at("/tmp")?;
    kernel::add_attributes(root.as_fd(), attr::RDONLY, false).at("read-only root")?;
    Ok(proc_visible)
}

/// For a root that somebody else has made, as far as it is not as it should be: hides what is at `/run` and `/sys`, gives the session
/// temporary files of its own within its bounds, and a name to its user.
pub(crate) fn mend(uid: u32, gid: u32, tmp_bytes: u64) -> Result<(), Fault> {
    let small = |step: &str| kernel::new_mount(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"64k")], SAFE).at(step);
    for (name, place) in [("/run", c"/run"), ("/sys", c"/sys")] {
        if fs::symlink_metadata(name).is_ok() {
            let nothing = small(name)?;
            kernel::add_attributes(nothing.as_fd(), attr::RDONLY, false).at(name)?;
            kernel::attach(nothing.as_fd(), AT_FDCWD, place).at(name)?;
        }
    }
    temporary(tmp_bytes).at("/tmp")?;
    let names = small("/etc")?;
    for (name, content) in etc::own(uid, gid) {
        let target = Path::new("/etc").join(name);
        if matches!(name, "passwd" | "group") && target.is_file() {
            write_file(names.as_fd(), &text(name)?, content.as_bytes()).at(format!("/etc/{name}"))?;
            let file = kernel::clone_tree(names.as_fd(), &text(name)?).at(format!("/etc/{name}"))?;
            kernel::add_attributes(file.as_fd(), attr::RDONLY, false).at(format!("/etc/{name}"))?;
            kernel::attach(file.as_fd(), AT_FDCWD, &text(target)?).at(format!("/etc/{name}"))?;
        }
    }
    Ok(())
}

/// `/tmp` and, out of the same space, `/dev/shm`.
fn temporary(bytes: u64) -> nix::Result<()> {
    let tmp = memory(bytes, c"1777")?;
    kernel::attach(tmp.as_fd(), AT_FDCWD, c"/tmp")?;
    mkdirat(&tmp, "home", Mode::from_bits_truncate(0o700))?;
    mkdirat(&tmp, ".shm", Mode::from_bits_truncate(0o700))?;
    let shm = kernel::clone_tree(AT_FDCWD, c"/tmp/.shm")?;
    kernel::add_attributes(shm.as_fd(), SAFE | attr::NOEXEC, false)?;
    kernel::attach(shm.as_fd(), AT_FDCWD, c"/dev/shm")
}

/// A new file system in memory, not mounted yet.
pub(crate) fn memory(bytes: u64, mode: &CStr) -> nix::Result<OwnedFd> {
    let size = CString::new(bytes.to_string()).map_err(|_| Errno::EINVAL)?;
    let inodes = CString::new((bytes / 2048).clamp(1024, 1 << 20).to_string()).map_err(|_| Errno::EINVAL)?;
    let options = [(c"mode", mode), (c"size", size.as_c_str()), (c"nr_inodes", inodes.as_c_str())];
    kernel::new_mount(c"tmpfs", &options, SAFE)
}

fn write_file(root: BorrowedFd<'_>, path: &CStr, content: &[u8]) -> std::io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file: OwnedFd = openat(root, path, flags, Mode::from_bits_truncate(0o644))?;
    fs::File::from(file).write_all(content)
}

fn text(path: impl AsRef<Path>) -> Result<CString, Fault> {
    let path = path.as_ref();
    CString::new(path.as_os_str().as_bytes()).map_err(|err| Fault::new(path.display().to_string(), err))
}

fn os(name: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
