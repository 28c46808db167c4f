//! TLS with the certificate authorities of the machine and those of `email.ca_file`.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Security, Server, Stream};
use crate::error::{Error, Result};

/// Whom we trust. Reads files: not for an async thread.
///
/// # Errors
/// `validation`, naming the file.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        for certificate in authorities(path)? {
            roots.add(certificate).map_err(|_| fault(path, "holds something that is no certificate"))?;
        }
    }
    if roots.is_empty() {
        return Err(Error::unavailable("this machine has no certificate authorities")
            .hint("install ca-certificates or set email.ca_file"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of `email.ca_file`.
///
/// # Errors
/// `validation`, naming the file.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|_| fault(path, "cannot be read"))?
        .collect::<Result<_, _>>()
        .map_err(|_| fault(path, "is not a PEM file"))?;
    if found.is_empty() { Err(fault(path, "holds no certificate")) } else { Ok(found) }
}

fn fault(path: &Path, what: &str) -> Error {
    Error::validation(format!("email.ca_file: {} {what}", path.display()))
        .field("email.ca_file")
        .hint("name a PEM file that the service's user may read")
}

/// The handshake; afterwards the server is who it should be.
pub(super) async fn handshake(
    server: &Server,
    config: Arc<ClientConfig>,
    stream: TcpStream,
    within: Duration,
) -> Result<Stream> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| Error::validation(format!("{:?} is not the name of a server", server.host)))?;
    let shaking = TlsConnector::from(config).connect(name, stream);
    let shaken = tokio::time::timeout(within, shaking).await.map_err(|_| {
        Error::unavailable(format!("{} does not answer in TLS in {} s", server.address(), within.as_secs()))
            .hint(other_way(server))
    })?;
    shaken.map_err(|err| explain(server, &err))
}

fn other_way(server: &Server) -> String {
    let other = if server.security == Security::Tls { "starttls" } else { "tls" };
    format!("if this port begins differently, set {} = \"{other}\"", server.key("security"))
}

/// What is wrong with the other side, for a person.
fn explain(server: &Server, err: &std::io::Error) -> Error {
    let cause = err.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let address = server.address();
    match cause {
        Some(rustls::Error::InvalidCertificate(wrong)) => {
            let (what, hint) = certificate(server, wrong);
            Error::unavailable(format!("the certificate of {address} {what}")).hint(hint)
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            Error::unavailable(format!("{address} does not speak TLS at this point")).hint(other_way(server))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::unavailable(format!("{address} refuses TLS with us: {alert:?}"))
                .hint("TLS 1.2 and 1.3 are spoken; an older server cannot be used")
        }
        Some(rustls::Error::PeerIncompatible(why)) => {
            Error::unavailable(format!("{address} speaks no TLS that is safe: {why:?}"))
                .hint("TLS 1.2 and 1.3 are spoken; an older server cannot be used")
        }
        Some(other) => Error::unavailable(format!("TLS with {address} fails: {other}")).hint(other_way(server)),
        None => {
            Error::unavailable(format!("{address} ends the connection when TLS begins: {err}")).hint(other_way(server))
        }
    }
}

fn certificate(server: &Server, wrong: &CertificateError) -> (String, String) {
    let trust = || {
        "if it is a server of your own, give the certificate of its authority as a PEM file: email.ca_file".to_owned()
    };
    let renew = || "its operator has to renew it; also check the clock of this machine".to_owned();
    match wrong {
        CertificateError::Expired => ("has ended".into(), renew()),
        CertificateError::ExpiredContext { not_after, .. } => (format!("ended on {}", day(*not_after)), renew()),
        CertificateError::NotValidYet => ("is not valid yet".into(), renew()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("is valid only from {}", day(*not_before)), renew())
        }
        CertificateError::UnknownIssuer => ("was issued by nobody that this machine trusts".into(), trust()),
        CertificateError::NotValidForName => (format!("is not for {:?}", server.host), names(server, &[])),
        CertificateError::NotValidForNameContext { presented, .. } => {
            (format!("is not for {:?}", server.host), names(server, presented))
        }
        CertificateError::Revoked => ("is revoked".into(), renew()),
        CertificateError::BadSignature => ("is forged: its signature is wrong".into(), trust()),
        other => (format!("cannot be trusted: {other}"), trust()),
    }
}

fn names(server: &Server, presented: &[String]) -> String {
    let key = server.key("host");
    if presented.is_empty() {
        return format!("set {key} to the name that the certificate is for");
    }
    let presented: Vec<_> = presented.iter().take(5).map(|name| super::said(name)).collect();
    format!("it is for {}: set {key} to that name", presented.join(", "))
}

fn day(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "an unknown day".into(), |at| at.strftime("%Y-%m-%d").to_string())
}
