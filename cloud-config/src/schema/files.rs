use super::{Key, Kind, Table, format, key};

pub(crate) static FILE: Table = Table {
    name: "file",
    keys: KEYS,
};

/// The empty name is plain text, as leaving the key out is.
pub(crate) const ENCODINGS: &[&str] = &[
    "",
    "base64",
    "b64",
    "gz",
    "gzip",
    "gz+base64",
    "gzip+base64",
    "gz+b64",
    "gzip+b64",
];

static KEYS: &[Key] = &[
    key("path", Kind::Text(&format::WRITABLE_PATH), "Where the file goes. Files below /var, /home, /root, /opt, /srv and /mnt are written once /var is mounted, all others before the boot.")
        .required().example("/etc/motd"),
    key("content", Kind::Text(&format::ANY), "What the file holds.").default("empty").example("hello"),
    key("encoding", Kind::Choice(ENCODINGS), "How `content` is encoded; undone before the file is written.").default("plain text").example("b64"),
    key("permissions", Kind::Text(&format::MODE), "Octal mode, quoted or not, setuid, setgid and sticky included.").default("0644").example("0600"),
    key("owner", Kind::Text(&format::OWNER), "`user:group`, by name or number.").default("root:root").example("core:core"),
    key("append", Kind::Flag, "Add `content` at the end of what is there, once, instead of replacing it.").default("false").example("true"),
    key("source", Kind::Map(&SOURCE), "Fetch the content instead, in the network phase.")
        .example("{url: https://example.com/tool, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}"),
];

static SOURCE: Table = Table {
    name: "source",
    keys: SOURCE_KEYS,
};

static SOURCE_KEYS: &[Key] = &[
    key(
        "url",
        Kind::Text(&format::URL),
        "Where to fetch it, at most 256 MiB.",
    )
    .required()
    .example("https://example.com/tool"),
    key(
        "sha256",
        Kind::Text(&format::SHA256),
        "Digest of what is fetched; anything else is not written.",
    )
    .required()
    .example("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
];
