//! Whose certificates are believed of witnesses and authorities that are reached over `https://`: those of the system,
//! and those of a file for authorities of one's own.
//!
//! What goes over these connections is public, and what comes back is signed: TLS keeps others from watching it and from
//! answering in its place. No certificate is passed over, in no mode.

use graven_model::{Code, Error, Result};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, CertificateError, InvalidMessage, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Bytes of a file of certificates at the most: four times those of a whole system.
const CA_FILE_BYTES_MAX: u64 = 1 << 20;

/// The setting that names the file.
const SETTING: &str = "audit.ca_file";

/// Whom to believe.
pub(super) struct Trust(RootCerts);

impl Trust {
    /// Nobody but the authorities of a file.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] if it has none, or something else.
    pub(super) fn own(file: Option<&Path>) -> Result<Trust> {
        Ok(Trust(file.map(authorities_of).transpose()?.unwrap_or_default().into()))
    }

    /// The system's authorities and those of a file.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for such a file, or if there are no authorities at all.
    pub(super) fn with_system(file: Option<&Path>) -> Result<Trust> {
        let mut authorities = file.map(authorities_of).transpose()?.unwrap_or_default();
        // Some of a system's certificates are always odd; what matters is whether any is left.
        let system = rustls_native_certs::load_native_certs().certs;
        authorities.extend(system.iter().filter(|certificate| is_usable(certificate)).map(kept));
        if authorities.is_empty() {
            return Err(Error::new(
                Code::InvalidConfig,
                "this system has no root certificates to verify https:// addresses with",
            )
            .expected(format!(
                "the system's (ca-certificates), or a file with the authority's in {SETTING}"
            )));
        }
        Ok(Trust(authorities.into()))
    }

    /// How connections are made.
    pub(super) fn tls(&self) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(self.0.clone())
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build()
    }
}

fn authorities_of(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let cannot = |why: &dyn Display| {
        let what = format!("the certificates in {} ({SETTING}) cannot be used: {why}", file.display());
        Error::new(Code::InvalidConfig, what).expected("certificates of authorities, as PEM")
    };
    let length = std::fs::metadata(file).map_err(|error| cannot(&error))?.len();
    if length > CA_FILE_BYTES_MAX {
        return Err(cannot(&format!("it has {length} bytes, and {CA_FILE_BYTES_MAX} are allowed")));
    }
    let bytes = std::fs::read(file).map_err(|error| cannot(&error))?;
    let mut authorities = Vec::new();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&bytes)) {
        let certificate = certificate.map_err(|error| cannot(&error))?;
        if !is_usable(&certificate) {
            return Err(cannot(&format!("number {number} is no certificate")));
        }
        authorities.push(kept(&certificate));
    }
    if authorities.is_empty() { Err(cannot(&"there is none")) } else { Ok(authorities) }
}

fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn kept(certificate: &CertificateDer<'static>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}

/// What TLS has against the other side; `None` if the failure is not about TLS.
pub(super) fn objection(error: &ureq::Error) -> Option<String> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    Some(match error {
        // A signature that does not verify is one of an authority that has a trusted one's name.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            format!(
                "its certificate comes from no authority that is trusted: neither the system's nor one in {SETTING}"
            )
        }
        rustls::Error::InvalidCertificate(
            wrong @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => {
            format!("its certificate is another host's: {wrong}")
        }
        rustls::Error::InvalidCertificate(wrong) => format!("its certificate cannot be used: {wrong}"),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it does not speak TLS".into(),
        other => format!("TLS failed: {other}"),
    })
}
