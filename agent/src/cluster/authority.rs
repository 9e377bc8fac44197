//! The cluster's own certificate authority, and what its certificates say.
//!
//! The common name is the role: etcd takes peers with the member's name only, so that no other
//! machine can vote. Addresses come from the connection the request came over, never from the
//! request. All certificates are valid from the same day long past, so that a machine without a
//! clock battery can start; what bounds them is their end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::anchor::{hex, signed_by};

/// How long the authority's own certificate is good.
pub(super) const AUTHORITY_YEARS: u32 = 20;
pub(super) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("making a key and its certificate")]
    Making(#[source] rcgen::Error),
    #[error("reading the key of the authority")]
    Key(#[source] rcgen::Error),
    #[error("reading a certificate")]
    Certificate,
    #[error("the key does not belong to the certificate of the authority")]
    Pair,
    #[error("reading a certificate request")]
    Request(#[source] rcgen::Error),
    #[error("the authority's certificate has expired")]
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs etcd.
    Member,
    /// Uses etcd.
    Machine,
}

impl Role {
    pub fn common_name(self) -> &'static str {
        match self {
            Role::Member => "strake-member",
            Role::Machine => "strake-machine",
        }
    }

    fn parse(common_name: &str) -> Option<Role> {
        [Role::Member, Role::Machine]
            .into_iter()
            .find(|role| role.common_name() == common_name)
    }
}

#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

/// What one certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub role: Role,
    pub addresses: Vec<IpAddr>,
    pub serial: Vec<u8>,
    pub not_after: SystemTime,
    /// Key id of the authority that signed.
    pub authority: String,
}

/// A key and the request for its certificate, both PEM.
#[derive(Debug)]
pub struct Request {
    pub key: String,
    pub csr: String,
}

impl Authority {
    /// A new authority: its certificate and its key, both PEM.
    pub fn create(cluster: &str, now: SystemTime) -> Result<(String, String), Error> {
        let key = KeyPair::generate().map_err(Error::Making)?;
        let mut params = CertificateParams::default();
        // No two have the same name: whoever is shown a certificate of another one can tell.
        let own = hex(&serial()?.to_bytes()[..4]);
        params.distinguished_name = name(&format!("{cluster} cluster authority {own}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = OffsetDateTime::from(now + YEAR * AUTHORITY_YEARS);
        let certificate = params.self_signed(&key).map_err(Error::Making)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    pub fn load(certificate: &str, key: &str) -> Result<Authority, Error> {
        let key = KeyPair::from_pem(key).map_err(Error::Key)?;
        let der = der(certificate)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Error::Certificate)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(Error::Pair);
        }
        let not_after = parsed.validity().not_after.to_datetime().into();
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| Error::Certificate)?;
        Ok(Authority {
            certificate: certificate.to_string(),
            issuer,
            not_after,
        })
    }

    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Of the request only the key is taken, and that its sender has it.
    pub fn sign(
        &self,
        csr: &str,
        (role, addresses): (Role, &[IpAddr]),
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(role.common_name());
        params.subject_alt_names = addresses.iter().map(|ip| SanType::IpAddress(*ip)).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every machine answers others too; what etcd takes as a peer is told by the name.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        self.finish(csr, params, now, lifetime)
    }

    /// For somebody who is no machine.
    pub fn sign_user(
        &self,
        csr: &str,
        user: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.finish(csr, params, now, lifetime)
    }

    /// The list of revoked certificates, DER. The serials are hexadecimal.
    pub fn revocations(
        &self,
        serials: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<Vec<u8>, Error> {
        let now = OffsetDateTime::from(now);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&bytes(serial)),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: now + YEAR * AUTHORITY_YEARS,
            crl_number: SerialNumber::from(now.unix_timestamp().unsigned_abs()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).map_err(Error::Making)?;
        Ok(signed.der().to_vec())
    }

    fn finish(
        &self,
        csr: &str,
        mut params: CertificateParams,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, Error> {
        if now >= self.not_after {
            return Err(Error::Expired);
        }
        let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(Error::Request)?;
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = OffsetDateTime::from((now + lifetime).min(self.not_after));
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        let signed = request.signed_by(&self.issuer).map_err(Error::Making)?;
        Ok(signed.pem())
    }
}

/// What the certificate of somebody who is no machine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    pub name: String,
    /// Hexadecimal.
    pub serial: String,
    pub not_after: SystemTime,
}

impl Stranger {
    pub fn parse(pem: &str) -> Result<Stranger, Error> {
        Stranger::of_der(&der(pem)?)
    }

    pub fn of_der(der: &[u8]) -> Result<Stranger, Error> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Error::Certificate)?;
        let name = parsed.subject().iter_common_name().next();
        let name = name.and_then(|name| name.as_str().ok());
        let serial = parsed.raw_serial();
        Ok(Stranger {
            name: name.ok_or(Error::Certificate)?.to_string(),
            serial: hex(serial),
            not_after: parsed.validity().not_after.to_datetime().into(),
        })
    }
}

impl Request {
    /// With the key there is, if it can be used: a key that stays needs no second file to be
    /// changed along with its certificate.
    pub fn new(key: Option<&str>) -> Result<Request, Error> {
        let kept = key.and_then(|pem| KeyPair::from_pem(pem).ok());
        let key = match kept {
            Some(key) => key,
            None => KeyPair::generate().map_err(Error::Making)?,
        };
        let params = CertificateParams::default();
        let csr = params.serialize_request(&key).map_err(Error::Making)?;
        Ok(Request {
            key: key.serialize_pem(),
            csr: csr.pem().map_err(Error::Making)?,
        })
    }
}

impl Leaf {
    pub fn parse(pem: &str) -> Result<Leaf, Error> {
        Leaf::of_der(&der(pem)?)
    }

    pub fn of_der(der: &[u8]) -> Result<Leaf, Error> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Error::Certificate)?;
        let mut names = parsed.subject().iter_common_name();
        let role = names.next().and_then(|name| name.as_str().ok());
        let sans = parsed.subject_alternative_name().ok().flatten();
        let sans = sans.map(|extension| &extension.value.general_names);
        Ok(Leaf {
            role: role.and_then(Role::parse).ok_or(Error::Certificate)?,
            addresses: sans.into_iter().flatten().filter_map(address).collect(),
            serial: parsed.raw_serial().to_vec(),
            not_after: parsed.validity().not_after.to_datetime().into(),
            authority: signed_by(&parsed),
        })
    }

    /// Hexadecimal.
    pub fn serial_text(&self) -> String {
        hex(&self.serial)
    }
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
        .ok()
}

pub(super) fn der(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| Error::Certificate)
}

/// What is no hexadecimal is no serial of ours.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    let digits = pairs.filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok());
    bytes.collect()
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::Making(rcgen::Error::RingUnspecified))?;
    // Positive, and never shortened by its encoding.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000)
    }

    fn authority() -> Authority {
        let (certificate, key) = Authority::create("lab", now()).expect("an authority");
        Authority::load(&certificate, &key).expect("its own parts")
    }

    fn sign(role: Role, now: SystemTime) -> Result<Leaf, Error> {
        let request = Request::new(None).expect("a request");
        let addresses = ["10.9.0.11", "fd00::1"].map(|ip| ip.parse().expect("an address"));
        let signed = authority().sign(&request.csr, (role, &addresses), now, 90 * DAY)?;
        Leaf::parse(&signed)
    }

    #[test]
    fn a_certificate_says_what_was_signed() {
        for role in [Role::Member, Role::Machine] {
            let leaf = sign(role, now()).expect("signed");
            assert_eq!(leaf.role, role);
            assert_eq!(leaf.addresses.len(), 2);
            assert_eq!(leaf.not_after, now() + 90 * DAY);
        }
    }

    #[test]
    fn no_certificate_outlives_the_authority() {
        let end = now() + YEAR * AUTHORITY_YEARS;
        let late = sign(Role::Member, end - DAY).expect("signed");
        assert_eq!(late.not_after, end);
        assert!(matches!(sign(Role::Member, end), Err(Error::Expired)));
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let (certificate, _) = Authority::create("a", now()).expect("an authority");
        let (_, key) = Authority::create("b", now()).expect("an authority");
        let loaded = Authority::load(&certificate, &key);
        assert!(matches!(loaded, Err(Error::Pair)));
        assert!(matches!(
            Authority::load("x", &key),
            Err(Error::Certificate)
        ));
        assert!(matches!(
            Authority::load(&certificate, "x"),
            Err(Error::Key(_))
        ));
    }

    #[test]
    fn a_request_whose_signature_is_wrong_gets_nothing() {
        let csr = Request::new(None).expect("a request").csr;
        let mut der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes())
            .expect("PEM")
            .to_vec();
        *der.last_mut().expect("bytes") ^= 1;
        let broken = CertificateSigningRequestParams::from_der(&der.into());
        assert!(broken.is_err());
        let nothing = authority().sign("", (Role::Machine, &[]), now(), DAY);
        assert!(matches!(nothing, Err(Error::Request(_))));
    }

    use rustls::pki_types::CertificateSigningRequestDer;
}
