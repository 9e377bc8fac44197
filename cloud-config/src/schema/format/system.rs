//! Kernel settings, modules, certificates and digests.

use super::{Fault, Format, ensure, format};

pub(crate) static SHA256: Format = format("SHA-256 in hex", r"^[0-9a-fA-F]{64}$", |text| {
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure(
        text.len() == 64 && hex,
        "64 hexadecimal digits, as sha256sum prints them",
    )
});

pub(crate) static JOIN_SECRET: Format =
    format("64 hexadecimal digits", r"^[0-9a-f]{64}$", |text| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure(
            text.len() == 64 && text.bytes().all(hex),
            "the join secret as strake cluster init prints it: 64 digits of 0-9 and a-f",
        )
    });

pub(crate) static TOKEN: Format = format(
    "16 to 128 letters, digits and -._~",
    r"^[A-Za-z0-9._~-]{16,128}$",
    |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        ensure(
            (16..=128).contains(&text.len()) && text.bytes().all(plain),
            "16 to 128 letters, digits and -._~, such as `openssl rand -hex 16` makes",
        )
    },
);

/// A key that only the join secret opens, as `strake cluster init` prints it.
pub(crate) static SEALED_KEY: Format =
    format("sealed key", r"^sealed-key-v1:[A-Za-z0-9+/]+=*$", |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let body = text.strip_prefix("sealed-key-v1:");
        ensure(
            body.is_some_and(|body| !body.is_empty() && body.chars().all(plain)),
            "the line that strake cluster init prints, from sealed-key-v1: on",
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
