//! The encrypted credentials of the service, in the directory where systemd looks for them by name (systemd.exec(5)).

use std::{
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use assistant_api::secrets::{MAX_BYTES, SecretName};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::NamedTempFile;

use crate::{
    exit::{Code, Failure, Result},
    host::Host,
    replace::Prepared,
};

/// Where systemd finds them.
pub const DIR: &str = "/etc/credstore.encrypted";

/// A directory of encrypted credentials.
pub struct Credstore<'a> {
    pub dir: PathBuf,
    pub host: &'a Host,
}

impl Credstore<'_> {
    /// Where a credential lies.
    pub fn path(&self, name: SecretName) -> PathBuf {
        self.dir.join(name.credential())
    }

    /// When a credential was stored, if there is one.
    pub fn stored(&self, name: SecretName) -> Result<Option<Timestamp>> {
        let path = self.path(name);
        match fs::metadata(&path).and_then(|meta| meta.modified()) {
            Ok(at) => Ok(Timestamp::try_from(at).ok()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(Failure::file("looking at", &path, &err)),
        }
    }

    /// Whether this machine can decrypt a credential; the error says why not. One that cannot be decrypted keeps the service
    /// from starting.
    pub fn decrypts(&self, name: SecretName) -> Result<()> {
        let naming = format!("--name={name}");
        let path = self.path(name);
        let arguments = ["decrypt".as_ref(), naming.as_ref(), path.as_os_str(), "-".as_ref()];
        self.host.run("systemd-creds", arguments, b"").map(drop)
    }

    /// Refuses what the caller will not be able to write, before anybody is asked for a value.
    pub fn may_write(&self) -> Result<()> {
        let dir = self.dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).map_err(|err| {
            Failure::file("writing to", &self.dir, &err.into()).hint("run it as root, with sudo before it")
        })
    }

    /// Encrypts a value and writes it beside its place.
    pub fn prepare(&self, name: SecretName, value: &SecretString) -> Result<Prepared> {
        if value.expose_secret().len() > MAX_BYTES {
            return Err(Failure::usage(format!("a secret has at most {MAX_BYTES} bytes")));
        }
        let naming = format!("--name={name}");
        let arguments = ["encrypt", naming.as_str(), "-", "-"];
        let encrypted = self.host.run("systemd-creds", arguments, value.expose_secret().as_bytes())?;
        if encrypted.is_empty() {
            return Err(Failure::new(Code::Failed, "systemd-creds failed: it gave nothing"));
        }
        let file = self.path(name);
        let written = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            // Readable for its owner alone.
            let mut temporary = NamedTempFile::with_prefix_in(format!(".{name}-"), &self.dir)?;
            temporary.write_all(&encrypted)?;
            temporary.as_file().sync_all()?;
            Ok(temporary)
        };
        let temporary = written().map_err(|err| Failure::file("writing", &file, &err))?;
        Ok(Prepared { temporary, file })
    }

    /// Removes a credential; says whether there was one.
    pub fn remove(&self, name: SecretName) -> Result<bool> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(Failure::file("removing", &path, &err).hint("run it as root, with sudo before it")),
        }
    }
}
