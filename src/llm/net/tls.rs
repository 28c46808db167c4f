//! TLS with the certificate authorities of the machine and those of `llm.ca_file`. Its parts are given by hand, so that
//! the process has no default that another part could change.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Whom we trust. Reads files: not for an async thread.
///
/// # Errors
/// A sentence that names the file.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let fault = |what: &str| format!("llm.ca_file {}: {what}", path.display());
        let mut found = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|_| fault("cannot be read"))? {
            let certificate = certificate.map_err(|_| fault("is not a PEM file"))?;
            roots.add(certificate).map_err(|_| fault("holds something that is no certificate"))?;
            found += 1;
        }
        if found == 0 {
            return Err(fault("holds no certificate"));
        }
    }
    if roots.is_empty() {
        return Err("this machine has no certificate authorities: install ca-certificates or set llm.ca_file".into());
    }
    with_roots(roots)
}

/// For plain connections, where nothing has to be trusted.
pub(super) fn unused() -> Result<ClientConfig, String> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| err.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
