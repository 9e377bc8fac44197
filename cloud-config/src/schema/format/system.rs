//! Kernel settings, modules, certificates and digests.

use super::{Fault, Format, ensure, format};

pub(crate) static SHA256: Format = format("SHA-256 in hex", r"^[0-9a-fA-F]{64}$", |text| {
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure(
        text.len() == 64 && hex,
        "64 hexadecimal digits, as sha256sum prints them",
    )
});

pub(crate) static PEM: Format = format("PEM certificates", "", |text| {
    if text.contains("PRIVATE KEY-----") {
        return Err(Fault::invalid(
            "a private key has no place here: give the certificate alone",
        ));
    }
    let begin = text.matches("-----BEGIN CERTIFICATE-----").count();
    let end = text.matches("-----END CERTIFICATE-----").count();
    ensure(
        begin > 0 && begin == end,
        "from -----BEGIN CERTIFICATE----- to its END line",
    )
});

pub(crate) static SYSCTL: Format = format(
    "sysctl name",
    r"^[A-Za-z0-9_-]+([./][A-Za-z0-9_:*-]+)+$",
    |text| {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '*');
        let holds = text.chars().all(plain) && text.contains(['.', '/']) && !text.contains("..");
        ensure(holds, "such as net.ipv4.ip_forward")
    },
);

pub(crate) static MODULE: Format = format(
    "module name and options",
    r"^[A-Za-z0-9_-]+( .*)?$",
    |text| {
        let name = text.split(' ').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let holds = !name.is_empty() && name.chars().all(plain) && !text.contains('\n');
        ensure(holds, "a module's name, then its options: bonding mode=1")
    },
);
