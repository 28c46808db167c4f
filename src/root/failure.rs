//! What an error of the operating system means to the caller: a kind, the path below the root, the reason.

use std::io;

use nix::errno::Errno;

use super::RelPath;
use crate::error::{Error, ErrorKind};

/// Turns an I/O error of `doing` something to `path` into ours.
pub(super) fn explain(err: io::Error, doing: &str, path: &RelPath) -> Error {
    let errno = err.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    let (kind, reason) = match errno {
        Errno::ENOENT => return Error::new(ErrorKind::NotFound, format!("{path} does not exist")),
        Errno::EEXIST => return Error::conflict(format!("{path} already exists")),
        Errno::ENOSPC | Errno::EDQUOT => (ErrorKind::StorageFull, "the disk is full"),
        Errno::EFBIG => (ErrorKind::TooLarge, "the file is larger than the system allows"),
        Errno::EACCES | Errno::EPERM => (ErrorKind::Forbidden, "permission denied"),
        Errno::EROFS => (ErrorKind::Forbidden, "the file system is read-only"),
        Errno::ENOTDIR => (ErrorKind::Invalid, "a part of the path is not a directory"),
        Errno::EISDIR => (ErrorKind::Invalid, "it is a directory"),
        Errno::ELOOP => (ErrorKind::Invalid, "it is a symbolic link that cannot be followed"),
        Errno::ENAMETOOLONG => (ErrorKind::Invalid, "the name is too long"),
        Errno::EILSEQ => (ErrorKind::Invalid, "the file system does not take this name"),
        Errno::ENXIO | Errno::ENODEV => (ErrorKind::Invalid, "it is neither a file nor a directory"),
        Errno::ENOTEMPTY => (ErrorKind::Conflict, "the directory is not empty"),
        Errno::ETXTBSY | Errno::EBUSY => (ErrorKind::Conflict, "it is in use"),
        Errno::EXDEV => (ErrorKind::Invalid, "the two places lie on different file systems"),
        Errno::EMFILE | Errno::ENFILE => (ErrorKind::Unavailable, "too many files are open"),
        Errno::ESTALE | Errno::EIO => (ErrorKind::Unavailable, "the disk reports an error"),
        _ => (ErrorKind::Internal, "the operating system refused"),
    };
    Error::new(kind, format!("{doing} {path}: {reason}")).source(err)
}

/// Marks an error of the very call that acts: a refusal means that nothing was done, what the disk or the system says
/// otherwise leaves it open.
pub(super) fn acting(err: Error) -> Error {
    match err.kind() {
        ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::StorageFull => err.in_doubt(),
        _ => err,
    }
}

/// Something that is neither a regular file nor a directory.
pub(super) fn special(path: &RelPath) -> Error {
    Error::invalid(format!("{path} is neither a file nor a directory"))
}
