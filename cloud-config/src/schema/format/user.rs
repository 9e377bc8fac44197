//! Users, groups, passwords and keys.

use super::{Fault, Format, ensure, format};

pub(crate) static USER_NAME: Format = format("user name", r"^[a-z_][a-z0-9_-]{0,31}$", |text| {
    ensure(
        is_user_name(text),
        "begin with a lower-case letter or underscore, then up to 31 lower-case letters, digits, \
         hyphens or underscores",
    )
});

/// A name, or a number where a group may be given by it.
pub(crate) static GROUP: Format = format(
    "group name or number",
    r"^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$",
    |text| {
        ensure(
            is_user_name(text) || is_id(text),
            "give the name or the number of a group",
        )
    },
);

pub(crate) static OWNER: Format = format("user:group", r"^[^:]+(:[^:]*)?$", |text| {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let known = |name: &str| is_user_name(name) || is_id(name);
    ensure(
        known(user) && (group.is_empty() || known(group)),
        "write user:group, such as root:root; names or numbers",
    )
});

pub(crate) static PASSWORD_HASH: Format = format("crypt(3) hash", "", |text| {
    if text.contains([':', '\n', '\r', '\0']) {
        return Err(Fault {
            message: Some("the password is no hash".into()),
            ..Fault::invalid("a hash holds no colon and no line break")
        });
    }
    let locked = text.is_empty() || text.starts_with(['!', '*']);
    if locked || text.starts_with('$') || text.starts_with('_') || text.len() == 13 {
        return Ok(());
    }
    Err(Fault::warning(
        "the password does not look like a hash",
        "make one with: openssl passwd -6",
    ))
});

/// One field of the password file.
pub(crate) static FIELD: Format = format("text without colon", r"^[^:\n]*$", |text| {
    ensure(
        !text.contains([':', '\n', '\r', '\0']),
        "leave out colons and line breaks",
    )
});

pub(crate) static SSH_KEY: Format = format("OpenSSH public key", "", |text| {
    let text = text.trim();
    if text.contains(['\n', '\r', '\0']) {
        return Err(Fault::invalid("one key for each entry of the list"));
    }
    if text.contains("PRIVATE KEY") {
        return Err(Fault::invalid(
            "this is a private key: give the public one (.pub)",
        ));
    }
    let known = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    if text
        .split_whitespace()
        .any(|word| known.iter().any(|kind| word.starts_with(kind)))
    {
        return Ok(());
    }
    Err(Fault::warning(
        "this does not look like an SSH public key",
        "give the line of a .pub file",
    ))
});

fn is_user_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    first && text.len() <= 32 && bytes.all(plain)
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}
