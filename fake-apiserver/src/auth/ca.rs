//! The cluster's certificate authority.
//!
//! Its key is Ed25519, whose keys come from 32 bytes and whose signatures are deterministic: the
//! same seed gives the same CA to the byte, and bootstrap data of nodes contains the CA.

use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
    SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// A certificate authority; cheap to clone.
#[derive(Clone)]
pub struct CertificateAuthority(Arc<Inner>);

struct Inner {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    not_before: Timestamp,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("pem", &self.0.pem)
            .finish_non_exhaustive()
    }
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
}

/// Certificates live this long: longer than any simulated horizon.
const YEARS: i64 = 10;

/// PKCS#8 v1 around a raw Ed25519 seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

impl CertificateAuthority {
    /// The authority of 32 secret bytes, valid from a day before `now`.
    pub fn new(secret: [u8; 32], now: Timestamp) -> Result<Self, rcgen::Error> {
        let not_before = now - jiff::SignedDuration::from_hours(24);
        let mut der = PKCS8_PREFIX.to_vec();
        der.extend_from_slice(&secret);
        let key = PrivatePkcs8KeyDer::from(der);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        validity(&mut params, not_before);
        params.serial_number = Some(SerialNumber::from(vec![1]));
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self(Arc::new(Inner {
            issuer: Issuer::new(params, key),
            pem,
            not_before,
        })))
    }

    /// The CA certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// A serving certificate for names and addresses.
    pub fn server(&self, names: &[&str]) -> Result<KeyedCertificate, rcgen::Error> {
        let mut params = CertificateParams::default();
        for name in names {
            let name = match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into()?),
            };
            params.subject_alt_names.push(name);
        }
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A client certificate: the user is the common name, the groups are the organizations.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<KeyedCertificate, rcgen::Error> {
        let mut params = CertificateParams::default();
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// Signs a certificate signing request (PEM) for client authentication.
    pub fn sign(&self, request_pem: &str) -> Result<String, rcgen::Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)?;
        validity(&mut request.params, self.0.not_before);
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(request.signed_by(&self.0.issuer)?.pem())
    }

    fn issue(&self, mut params: CertificateParams) -> Result<KeyedCertificate, rcgen::Error> {
        validity(&mut params, self.0.not_before);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Strict verifiers (Python 3.13 and later) insist on it.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0.issuer)?;
        Ok(KeyedCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn validity(params: &mut CertificateParams, not_before: Timestamp) {
    let day = |timestamp: Timestamp| {
        let date = timestamp.to_zoned(jiff::tz::TimeZone::UTC).date();
        let part = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(not_before);
    let span = jiff::SignedDuration::from_hours(24 * 365 * YEARS);
    params.not_after = day(not_before.checked_add(span).unwrap_or(Timestamp::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_gives_the_same_authority() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let pem = |secret| {
            CertificateAuthority::new([secret; 32], now)
                .unwrap()
                .pem()
                .to_owned()
        };
        assert_eq!(pem(7), pem(7));
        assert_ne!(pem(7), pem(8));
    }
}
