//! HTTPS at the web door, where a certificate and its key are given: by `api.tls_certificate` and `api.tls_key`, or as
//! credentials of the service manager. A socket file is for a proxy on this host and speaks HTTP.

mod expiry;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpStream, sync::Notify};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(super) use self::watch::watch;
use super::exposure;
use crate::{
    config::{Config, Paths},
    cx::Cx,
    error::{Error, Result},
    logging::catalog,
};

/// The credentials, where no files are configured.
const CREDENTIALS: (&str, &str) = ("tls-certificate", "tls-key");
/// Bytes of a file of certificates or of a key.
const MOST: u64 = 1 << 20;
/// What a connection begins with that wants TLS: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// How long before its end a certificate is a finding.
pub const SOON: Duration = Duration::from_secs(14 * 86_400);

/// The certificate that is served, and what is wrong with the one that should be.
#[derive(Default)]
pub struct Served {
    pair: ArcSwapOption<Pair>,
    problem: ArcSwapOption<String>,
    /// The configuration may name other files now.
    moved: Notify,
}

/// A certificate with its key, ready to be served.
pub struct Pair {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    /// When it ends.
    until: Timestamp,
}

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Served {
    /// What is served, if anything is.
    pub(super) fn pair(&self) -> Option<Arc<Pair>> {
        self.pair.load_full()
    }

    /// When what is served ends.
    pub fn until(&self) -> Option<Timestamp> {
        self.pair.load().as_ref().map(|pair| pair.until)
    }

    /// Why another one goes on being served than the configured one.
    pub fn problem(&self) -> Option<Arc<String>> {
        self.problem.load_full()
    }
}

impl Files {
    /// Those that the configuration names, else the credentials; `None` for HTTP.
    fn of(config: &Config, paths: &Paths) -> Result<Option<Self>> {
        let half = |missing: &'static str, hint: &'static str| {
            Err(Error::validation(format!("HTTPS takes a certificate and its key, and {missing} is missing"))
                .field(missing)
                .hint(hint))
        };
        let set = |path: &Option<String>| path.as_deref().filter(|path| !path.trim().is_empty()).map(PathBuf::from);
        match (set(&config.api.tls_certificate), set(&config.api.tls_key)) {
            (Some(certificate), Some(key)) => return Ok(Some(Self { certificate, key })),
            (Some(_), None) => return half("api.tls_key", "set api.tls_key, or neither of them"),
            (None, Some(_)) => return half("api.tls_certificate", "set api.tls_certificate, or neither of them"),
            (None, None) => {}
        }
        let Some(dir) = &paths.credentials_dir else { return Ok(None) };
        let (certificate, key) = (dir.join(CREDENTIALS.0), dir.join(CREDENTIALS.1));
        match (certificate.exists(), key.exists()) {
            (true, true) => Ok(Some(Self { certificate, key })),
            (false, false) => Ok(None),
            (true, false) => half("the credential tls-key", "add LoadCredential=tls-key:FILE to the unit"),
            (false, true) => {
                half("the credential tls-certificate", "add LoadCredential=tls-certificate:FILE to the unit")
            }
        }
    }

    fn load(&self) -> Result<Pair> {
        let (_, text) = read(&self.certificate, "api.tls_certificate")?;
        let wrong = |err: &dyn std::fmt::Display| {
            Error::validation(format!("{} holds no certificate: {err}", self.certificate.display()))
                .field("api.tls_certificate")
                .hint("it has to be in PEM form, the server's own first, then those between it and the root")
        };
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|err| wrong(&err))?;
        let Some(certificate) = chain.first().cloned() else { return Err(wrong(&"there is none in it")) };
        let until = expiry::not_after(&certificate).ok_or_else(|| wrong(&"its period of validity cannot be read"))?;

        let (mode, text) = read(&self.key, "api.tls_key")?;
        let key = self.key.display();
        if mode & 0o007 != 0 {
            return Err(Error::validation(format!(
                "the key {key} has mode {:04o}: every user can read or change it",
                mode & 0o7777
            ))
            .field("api.tls_key")
            .hint(format!("sudo chmod o= {key}; if it was so for long, take a new key")));
        }
        let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|err| {
            Error::validation(format!("{key} holds no key: {err}"))
                .field("api.tls_key")
                .hint("it has to be in PEM form, and not encrypted")
        })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::internal)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|err| match err {
                rustls::Error::InconsistentKeys(_) => {
                    Error::validation(format!("the key {key} is not the one of {}", self.certificate.display()))
                        .field("api.tls_key")
                        .hint("both have to be of the same renewal; renew them, or give the key that belongs to it")
                }
                _ => Error::validation(format!("{} cannot be served: {err}", self.certificate.display()))
                    .field("api.tls_certificate")
                    .hint("it has to be of version 3, with a key of RSA, ECDSA or Ed25519"),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Pair { config: Arc::new(config), certificate, until })
    }
}

/// Mode and content of a file.
fn read(path: &Path, field: &'static str) -> Result<(u32, Vec<u8>)> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text)?;
        Ok((mode, text))
    };
    read().map_err(|err: io::Error| {
        Error::validation(format!("reading {}: {err}", path.display())).field(field).hint(
            "the daemon's user has to be able to read it: give it to the group assistant with mode 0640, or hand it \
             over with LoadCredential= (docs/web.md)",
        )
    })
}

/// Whether what is configured can be served.
///
/// # Errors
/// `validation`, with the key and the way out.
pub fn check(config: &Config, paths: &Paths) -> Result<()> {
    Files::of(config, paths)?.map_or(Ok(()), |files| files.load().map(drop))
}

/// Serves what is configured now. Where that cannot be, what is served goes on; only where nothing is, it is an error.
///
/// # Errors
/// As [`check`].
pub fn renew(cx: &Cx, config: &Config) -> Result<()> {
    let served = &cx.process.tls;
    let found = Files::of(config, &cx.process.sources.paths);
    match found.and_then(|files| files.map(|files| files.load()).transpose()) {
        Ok(pair) => {
            let former = served.pair.swap(pair.map(Arc::new));
            served.problem.store(None);
            let now = served.pair.load();
            match (former, now.as_ref()) {
                (Some(old), Some(new)) if old.certificate == new.certificate => {}
                (_, Some(new)) => tracing::info!(until = %new.until, "HTTPS with a certificate until {}", new.until),
                (Some(_), None) => tracing::warn!("no HTTPS any more: the network is served by HTTP"),
                (None, None) => {}
            }
        }
        Err(err) if served.pair.load().is_none() => return Err(err),
        Err(err) => {
            let hint = err.hint_text().unwrap_or_default();
            tracing::error!(target: catalog::CERTIFICATE, hint, "the new certificate is refused, the old one stays: {err}");
            served.problem.store(Some(Arc::new(err.message().to_owned())));
        }
    }
    exposure::tell(cx);
    served.moved.notify_one();
    Ok(())
}

/// As [`renew`], for files that have changed by themselves.
fn follow(cx: &Cx) {
    if let Err(err) = renew(cx, &cx.config.load()) {
        tracing::error!(target: catalog::CERTIFICATE, "HTTPS cannot be served: {err}");
    }
}

/// What somebody begins with at a port of HTTPS.
pub(super) enum Begun {
    Https(Box<TlsStream<TcpStream>>),
    /// Not TLS; nothing is read of it yet.
    Other(TcpStream),
}

impl Pair {
    /// Agrees with a client on keys. Nothing here is bounded in time.
    pub(super) async fn begin(&self, stream: TcpStream) -> io::Result<Begun> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != HANDSHAKE {
            return Ok(Begun::Other(stream));
        }
        let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        Ok(Begun::Https(Box::new(stream)))
    }
}
