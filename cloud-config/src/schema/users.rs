use super::{Key, Kind, Table, format, key};

pub(crate) static USER: Table = Table {
    name: "user",
    keys: KEYS,
};

const GITHUB: &str =
    "keys are fetched at each boot from a third party; list them in ssh_authorized_keys";
const NO_EFFECT: &str = "it has no effect: there is no lastlog";

static KEYS: &[Key] = &[
    key("name", Kind::Text(&format::USER_NAME), "Login name.")
        .required()
        .example("ops"),
    key(
        "passwd",
        Kind::Text(&format::PASSWORD_HASH),
        "Password as a crypt(3) hash. Also sets that of an existing user.",
    )
    .default("`*`, no login by password")
    .example("$6$salt$hash"),
    key("gecos", Kind::Text(&format::FIELD), "Full name or purpose.").example("Operations"),
    key("homedir", Kind::Text(&format::PATH), "Home directory.")
        .default("`/home/NAME`")
        .example("/home/operations"),
    key(
        "no_create_home",
        Kind::Flag,
        "Do not make the home directory.",
    )
    .default("false")
    .example("true"),
    key(
        "primary_group",
        Kind::Text(&format::GROUP),
        "Primary group, by name or number.",
    )
    .default("a group of the user's own name")
    .example("docker"),
    key(
        "groups",
        Kind::List(&Kind::Text(&format::GROUP)),
        "Further groups.",
    )
    .example("[sudo, docker]"),
    key(
        "no_user_group",
        Kind::Flag,
        "Do not make a group of the user's own name.",
    )
    .default("false")
    .example("true"),
    key(
        "system",
        Kind::Flag,
        "A system user: its number comes from the range of the system.",
    )
    .default("false")
    .example("true"),
    key("no_log_init", Kind::Flag, "Accepted for old configs.")
        .default("false")
        .example("true")
        .deprecated(NO_EFFECT),
    key("shell", Kind::Text(&format::PATH), "Login shell.")
        .default("`/bin/bash`")
        .example("/bin/sh"),
    key(
        "ssh_authorized_keys",
        Kind::List(&Kind::Text(&format::SSH_KEY)),
        "Public keys that may log in as this user.",
    )
    .example("[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEops ops]"),
    key(
        "coreos_ssh_import_github",
        Kind::Text(&format::LINE),
        "GitHub user whose public keys may log in.",
    )
    .example("octocat")
    .deprecated(GITHUB),
    key(
        "coreos_ssh_import_github_users",
        Kind::List(&Kind::Text(&format::LINE)),
        "GitHub users whose public keys may log in.",
    )
    .example("[octocat]")
    .deprecated(GITHUB),
    key(
        "coreos_ssh_import_url",
        Kind::Text(&format::URL),
        "URL of a JSON array of objects with a field `key`.",
    )
    .example("https://keys.example.com/ops")
    .deprecated(GITHUB),
];
