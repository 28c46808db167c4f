//! What commands see of `/etc`: the few of the host's that programs need, and names of the session's own.

use std::{ffi::CString, fs, os::unix::ffi::OsStrExt as _, path::Path};

use super::{
    fault::{At as _, Fault},
    root::HOME,
};

/// What programs need of `/etc` and what holds nothing private.
pub(crate) const SHARED: [&str; 16] = [
    "alternatives",
    "ssl",
    "fonts",
    "pki",
    "ld.so.cache",
    "localtime",
    "timezone",
    "os-release",
    "debian_version",
    "mime.types",
    "mailcap",
    "services",
    "protocols",
    "magic",
    "locale.conf",
    // Of LibreOffice, which reads old documents and does not start without it.
    "libreoffice",
];

/// How something of the host comes into the root of a session.
pub(crate) enum Part {
    /// As a link to the same target.
    Link(CString),
    /// As a file of the same content.
    Copy(Vec<u8>),
    /// As a mount of the directory or file.
    Mount { directory: bool },
}

impl Part {
    /// How this path does, if it is there; files of at most so many bytes are copied.
    pub(crate) fn of(path: &Path, copied: u64) -> Result<Option<Self>, Fault> {
        let named = || path.display().to_string();
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(None) };
        if found.is_symlink() {
            let target = fs::read_link(path).at(named())?;
            let target = CString::new(target.as_os_str().as_bytes()).map_err(|err| Fault::new(named(), err))?;
            return Ok(Some(Self::Link(target)));
        }
        if found.is_file()
            && found.len() <= copied
            && let Ok(content) = fs::read(path)
        {
            return Ok(Some(Self::Copy(content)));
        }
        Ok(Some(Self::Mount { directory: found.is_dir() }))
    }
}

/// The files of `/etc` that are ours, because the host's would tell of its users and names.
pub(crate) fn own(uid: u32, gid: u32) -> [(&'static str, String); 5] {
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\nwork:x:{uid}:{gid}:work:{HOME}:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\nwork:x:{gid}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        ("hostname", "sandbox\n".to_owned()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".to_owned(),
        ),
    ]
}
