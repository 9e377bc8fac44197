use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WriteFile {
    pub path: String,
    pub written: Written,
    /// All twelve bits, setuid, setgid and sticky included.
    pub mode: u32,
    pub owner: Owner,
}

/// Where the bytes of a file come from and how they meet what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    Content(Vec<u8>),
    Append(Vec<u8>),
    Source(Source),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// Names or numbers, as the user wrote them; the agent looks them up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub user: String,
    pub group: String,
}

impl Default for Owner {
    fn default() -> Self {
        Self {
            user: "root".into(),
            group: "root".into(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}
