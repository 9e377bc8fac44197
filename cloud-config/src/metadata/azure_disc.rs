//! `ovf-env.xml` of Azure's provisioning disc: the machine's name, keys and custom data.
//!
//! Only elements that hold nothing but text are read, by their local names. A document type
//! declaration is refused: the format has none, and entities could grow without end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Metadata, hostname, keys};

/// The outermost element.
const ROOT: &str = "Environment";

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provisioning {
    pub metadata: Metadata,
    /// What Azure calls custom data: the user-data.
    pub custom_data: Option<Vec<u8>>,
}

pub fn azure_disc(bytes: &[u8]) -> Result<Provisioning, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Xml)?;
    let leaves = leaves(text.trim_start_matches('\u{FEFF}')).ok_or(Error::Xml)?;
    let all = |name: &'static str| {
        let named = leaves.iter().filter(move |(known, _)| *known == name);
        named.map(|(_, text)| text.as_str())
    };
    let custom: String = all("CustomData")
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let custom_data = match custom.is_empty() {
        true => None,
        false => Some(STANDARD.decode(custom).map_err(|_| Error::CustomData)?),
    };
    Ok(Provisioning {
        metadata: Metadata {
            hostname: all("HostName").next().and_then(hostname),
            ssh_authorized_keys: keys(all("Value")),
            ..Metadata::default()
        },
        custom_data,
    })
}

/// Elements with nothing but text in them; nothing where the text is no such document.
fn leaves(text: &str) -> Option<Vec<(&str, String)>> {
    let mut leaves = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    // The text since the last start of an element, while it may still be a leaf.
    let mut held: Option<&str> = None;
    while let Some(start) = rest.find('<') {
        let before = &rest[..start];
        rest = &rest[start..];
        if rest.starts_with("<!--") {
            rest = after(rest, "-->")?;
            held = None;
        } else if rest.starts_with("<?") {
            rest = after(rest, "?>")?;
        } else if rest.starts_with("<!") {
            return None;
        } else if let Some(end) = rest.strip_prefix("</") {
            let name = local(end.split('>').next()?);
            if open.pop()? != name {
                return None;
            }
            if held.take().is_some() {
                leaves.push((name, unescaped(before)?));
            }
            rest = after(end, ">")?;
        } else {
            let tag = rest[1..].split('>').next()?;
            let name = local(tag.trim_end_matches('/'));
            if name.is_empty() || (open.is_empty() && name != ROOT) {
                return None;
            }
            held = None;
            if !tag.ends_with('/') {
                open.push(name);
                held = Some(name);
            }
            rest = after(rest, ">")?;
        }
    }
    (open.is_empty() && !leaves.is_empty()).then_some(leaves)
}

fn after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// `CustomData` of `ns1:CustomData a="b"`.
fn local(tag: &str) -> &str {
    let name = tag.split_whitespace().next().unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default()
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, entity)) = rest.split_once('&') {
        out.push_str(plain);
        let (name, behind) = entity.split_once(';')?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => return None,
        });
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inner: &str) -> String {
        format!(
            "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Environment xmlns:wa=\"x\">\n \
             <wa:ProvisioningSection><wa:Version>1.0</wa:Version>\n<!-- <HostName>no</HostName> -->\n\
             {inner}</wa:ProvisioningSection></Environment>\n"
        )
    }

    #[test]
    fn name_keys_and_custom_data_are_read() {
        let inner = "<Set xmlns=\"y\"><HostName>n1</HostName><UserName>ops</UserName>\
                     <SSH><PublicKeys><PublicKey><Path>/x</Path><Value>ssh-rsa AAAA a&amp;b</Value>\
                     </PublicKey></PublicKeys></SSH><Empty/>\
                     <CustomData>I2Ns\n b3VkLWNvbmZpZwo=</CustomData></Set>";
        let found = azure_disc(document(inner).as_bytes()).expect("valid");
        assert_eq!(found.metadata.hostname.as_deref(), Some("n1"));
        assert_eq!(found.metadata.ssh_authorized_keys, ["ssh-rsa AAAA a&b"]);
        assert_eq!(found.custom_data.as_deref(), Some(&b"#cloud-config\n"[..]));
        let none = azure_disc(document("<CustomData/>").as_bytes()).expect("valid");
        assert_eq!(none, Provisioning::default());
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><a><CustomData>&b;</CustomData></a>";
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a><b></a></b>",
            "<>x</>",
            bomb,
            "<a>&x;</a>",
        ] {
            assert!(azure_disc(text.as_bytes()).is_err(), "{text}");
        }
        let error = azure_disc(document("<CustomData>*</CustomData>").as_bytes());
        assert!(matches!(error, Err(Error::CustomData)));
    }
}
