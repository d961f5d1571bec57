//! Whom the agent trusts on a TLS connection: the system's authorities and those that are configured.
//!
//! The system's store is read by `rustls-native-certs`, which `ldap3` needs anyway, and verified by
//! rustls itself: the same code and the same answers on every system, with a configured authority
//! simply added to the store. There is no way to switch the check off.
#![expect(clippy::disallowed_methods, reason = "edge: reads certificate authorities")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use ldap3::LdapError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::directory::error::{DirectoryError, TlsProblem};

/// The configuration of every TLS connection.
///
/// # Errors
/// [`DirectoryError::Authorities`] when a configured file has none, or there is none at all.
pub fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, DirectoryError> {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "A certificate authority of the system cannot be read.");
    }
    // A system store holds what it holds; one certificate too old to parse is not ours to mend.
    store.add_parsable_certificates(system.certs);
    let error = |from: String, source| DirectoryError::Authorities { from, source };
    if let Some(path) = ca_file {
        let error = |source| error(path.display().to_string(), source);
        let text = std::fs::read(path).map_err(error)?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|e| error(io::Error::other(e.to_string())))?;
            store.add(certificate).map_err(|e| error(io::Error::other(e)))?;
            count += 1;
        }
        if count == 0 {
            return Err(error(io::Error::other("it holds no certificate")));
        }
    }
    if store.is_empty() {
        let none = io::Error::other("there is none, and directory.ca-file is not set");
        return Err(error("the system".to_owned(), none));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| error("the system".to_owned(), io::Error::other(e)))?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

/// What is wrong, from an error of the connection.
pub fn problem(error: &LdapError) -> TlsProblem {
    let rustls = match error {
        LdapError::Rustls { source } => Some(source),
        LdapError::Io { source } => {
            source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        }
        LdapError::DNSName { .. } => return TlsProblem::WrongName,
        _ => None,
    };
    match rustls {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer => TlsProblem::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::Time,
            _ => TlsProblem::Other,
        },
        _ => TlsProblem::Other,
    }
}
