//! Certificates for loopback: an authority of our own and a server certificate from it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};

/// What a server needs to speak TLS.
#[derive(Clone)]
pub struct TlsOptions {
    /// The server's certificate, then any intermediate ones.
    pub certificate_chain_pem: String,
    pub private_key_pem: String,
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

/// Certificates that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate cannot be made")]
    Generate(#[from] rcgen::Error),
    #[error("the PEM text cannot be read")]
    Read(#[from] std::io::Error),
    #[error("the PEM text holds no private key")]
    NoKey,
    #[error("the certificate and the key cannot be used")]
    Use(#[from] rustls::Error),
}

impl TlsOptions {
    /// The configuration for [`crate::serve`]: HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = rustls_pemfile::certs(&mut self.certificate_chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key: PrivateKeyDer<'static> =
            rustls_pemfile::private_key(&mut self.private_key_pem.as_bytes())?
                .ok_or(TlsError::NoKey)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// A certificate authority that lives as long as the process. Its key comes from the operating
/// system's entropy: it is for real sockets only, where nothing is repeatable anyway.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = params("fake-arm CA", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The certificate that clients must trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for `localhost`, `127.0.0.1`, `::1` and `more` names or addresses.
    pub fn issue(&self, more: &[String]) -> Result<TlsOptions, TlsError> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        names.extend(more.iter().cloned());
        let mut params = params("fake-arm", names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(TlsOptions {
            certificate_chain_pem: certificate.pem(),
            private_key_pem: key.serialize_pem(),
        })
    }
}

/// Valid from before any scenario's epoch until after anyone's patience.
fn params(name: &str, names: Vec<String>) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    Ok(params)
}
