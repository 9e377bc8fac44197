use serde::Serialize;

/// One user. What is `None` was not written: an existing user keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct User {
    pub name: String,
    /// A crypt(3) hash.
    pub passwd: Option<String>,
    pub gecos: Option<String>,
    pub homedir: Option<String>,
    pub no_create_home: bool,
    pub primary_group: Option<String>,
    pub groups: Vec<String>,
    pub no_user_group: bool,
    pub system: bool,
    pub no_log_init: bool,
    pub shell: Option<String>,
    pub ssh_authorized_keys: Vec<String>,
    pub key_imports: Vec<KeyImport>,
}

/// Public keys to fetch in the network phase: a JSON array of objects with a field `key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct KeyImport {
    pub url: String,
    /// Name of the key set the keys are kept under.
    pub key_set: String,
}
