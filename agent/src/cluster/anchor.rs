//! Certificates and keys of authorities as text: how many there may be, and what each says.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::authority::{AUTHORITY_YEARS, Error, YEAR, der};

/// What the certificate of an authority says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Hexadecimal; what it signs names it so.
    pub key_id: String,
    pub not_after: SystemTime,
}

impl Anchor {
    pub fn parse(pem: &str) -> Result<Anchor, Error> {
        let der = der(pem)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Error::Certificate)?;
        let ids = parsed.extensions().iter();
        let mut ids = ids.filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(hex(id.0)),
            _ => None,
        });
        Ok(Anchor {
            key_id: ids.next().unwrap_or_default(),
            not_after: parsed.validity().not_after.to_datetime().into(),
        })
    }

    /// How long ago it was made, as `strake cluster init` makes them.
    pub fn age(&self, now: SystemTime) -> Duration {
        let made = self.not_after - YEAR * AUTHORITY_YEARS;
        now.duration_since(made).unwrap_or_default()
    }
}

/// The key id of the authority that signed, as the certificate itself says; for the books alone.
pub(super) fn signed_by(parsed: &X509Certificate<'_>) -> String {
    let mut ids = parsed.extensions().iter();
    let id = ids.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
        _ => None,
    });
    id.map(|id| hex(id.0)).unwrap_or_default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each certificate of a text, in the same form whoever wrote it.
pub fn certificates(text: &str) -> Vec<String> {
    blocks(text, "CERTIFICATE")
}

pub fn keys(text: &str) -> Vec<String> {
    blocks(text, "PRIVATE KEY")
}

fn blocks(text: &str, label: &str) -> Vec<String> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((_, from)) = rest.split_once(&begin) {
        let Some((body, after)) = from.split_once(&end) else {
            break;
        };
        let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        all.push(format!("{begin}\n{body}{end}\n"));
        rest = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::authority::{Authority, Leaf, Request, Role};
    use super::*;

    #[test]
    fn a_text_of_several_is_taken_apart_whatever_its_line_ends() {
        let now = SystemTime::now();
        let made = ["a", "b"].map(|name| Authority::create(name, now).expect("an authority"));
        let [(first, key), (second, _)] = &made;
        let text = format!("# ours\n{first}\n\n{}", second.replace('\n', "\r\n  "));
        assert_eq!(certificates(&text), [first.clone(), second.clone()]);
        assert_eq!(keys(&text), [""; 0]);
        assert_eq!(keys(&format!("{key}{key}")).len(), 2);
        for nothing in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n", "text"] {
            assert_eq!(certificates(nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn a_certificate_names_the_authority_that_signed_it() {
        let now = SystemTime::now();
        let (pem, key) = Authority::create("a", now).expect("an authority");
        let (other, _) = Authority::create("b", now).expect("an authority");
        let authority = Authority::load(&pem, &key).expect("its own parts");
        let request = Request::new(None).expect("a request");
        let who = (Role::Machine, &[][..]);
        let signed = authority.sign(&request.csr, who, now, YEAR);
        let leaf = Leaf::parse(&signed.expect("signed")).expect("a certificate");
        let anchor = Anchor::parse(&pem).expect("an anchor");
        assert_eq!(leaf.authority, anchor.key_id);
        assert_ne!(leaf.authority, "");
        assert_ne!(
            Anchor::parse(&other).expect("an anchor").key_id,
            anchor.key_id
        );
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(anchor.age(now + 3 * day).as_secs() / day.as_secs(), 3);
    }
}
