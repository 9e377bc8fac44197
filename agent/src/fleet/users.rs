//! Who may use the API over TCP: people and programs with a certificate of the users' authority,
//! which is not the machines': what is signed by it opens the API and never etcd.
//!
//! | key below `/strake/users/v1/` | value |
//! |---|---|
//! | `authority` | `Kept`: its certificate and its key |
//! | `names/NAME` | `User`: role and the serial of the one certificate that counts |
//!
//! Role and standing are read for each request: a user that is removed is out at once.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::cluster::authority::{self, Authority, Request, Stranger};
use crate::cluster::clock::seconds;
use crate::store::{self, Compare, Outcome, Store, Transaction, Write, read_all};

const AUTHORITY: &str = "/strake/users/v1/authority";
const NAMES: &str = "/strake/users/v1/names/";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a user's name is 1 to 64 of a-z, 0-9, dot, hyphen and underline")]
    Name,
    #[error("user {0} is known: remove it first")]
    Known(Name),
    #[error("user {0} is not known")]
    Unknown(Name),
    #[error("somebody else was faster: look what is there and try again")]
    Faster,
    #[error("the users' authority in the store is not understood")]
    Garbled,
    #[error(transparent)]
    Authority(#[from] authority::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        match (1..=64).contains(&text.len()) && text.chars().all(allowed) {
            true => Ok(Name(text.to_string())),
            false => Err(Error::Name),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees everything, changes nothing.
    ReadOnly,
    Admin,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::ReadOnly => "read-only",
            Role::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub role: Role,
    /// Hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_after: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    certificate: String,
    key: String,
}

/// PEM, for the user alone.
#[derive(Debug)]
pub struct Granted {
    pub certificate: String,
    pub key: String,
}

fn key(name: &Name) -> String {
    format!("{NAMES}{name}")
}

fn put(key: String, value: &impl Serialize) -> Transaction {
    Transaction {
        compares: vec![Compare::Created(key.clone(), 0)],
        writes: vec![Write::Put {
            key,
            value: serde_json::to_vec(value).expect("a value of ours is JSON"),
            lease: None,
        }],
    }
}

/// The certificate that users' certificates are judged by; none before the first user.
pub(crate) async fn authority(store: &impl Store) -> Result<Option<String>, Error> {
    Ok(kept(store).await?.map(|kept| kept.certificate))
}

async fn kept(store: &impl Store) -> Result<Option<Kept>, Error> {
    let Some(entry) = store.read(AUTHORITY).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&entry.value).map_err(|_| Error::Garbled)
}

/// The first user makes the authority too.
pub async fn add(
    store: &impl Store,
    name: &Name,
    role: Role,
    (now, lifetime): (SystemTime, Duration),
) -> Result<Granted, Error> {
    let kept = match kept(store).await? {
        Some(kept) => kept,
        None => {
            let (certificate, key) = Authority::create("users of the", now)?;
            let kept = Kept { certificate, key };
            match store.commit(&put(AUTHORITY.to_string(), &kept)).await? {
                Outcome::Done(_) => kept,
                Outcome::Refused => return Err(Error::Faster),
            }
        }
    };
    let authority = Authority::load(&kept.certificate, &kept.key)?;
    let request = Request::new(None)?;
    let certificate = authority.sign_user(&request.csr, &name.0, now, lifetime)?;
    let shown = Stranger::parse(&certificate)?;
    let user = User {
        role,
        serial: shown.serial,
        not_after: seconds(shown.not_after),
    };
    match store.commit(&put(key(name), &user)).await? {
        Outcome::Done(_) => Ok(Granted {
            certificate,
            key: request.key,
        }),
        Outcome::Refused => Err(Error::Known(name.clone())),
    }
}

pub async fn remove(store: &impl Store, name: &Name) -> Result<(), Error> {
    let Some(found) = store.read(&key(name)).await? else {
        return Err(Error::Unknown(name.clone()));
    };
    let transaction = Transaction {
        compares: vec![Compare::Modified(key(name), found.modified)],
        writes: vec![Write::Delete { key: key(name) }],
    };
    match store.commit(&transaction).await? {
        Outcome::Done(_) => Ok(()),
        Outcome::Refused => Err(Error::Faster),
    }
}

pub async fn list(store: &impl Store) -> Result<Vec<(Name, User)>, Error> {
    let entries = read_all(store, NAMES).await?.entries.into_iter();
    let user = |entry: store::Entry| {
        let name = entry.key.strip_prefix(NAMES)?.parse().ok()?;
        Some((name, serde_json::from_slice(&entry.value).ok()?))
    };
    Ok(entries.filter_map(user).collect())
}

/// What whoever showed this certificate may do now; none: it counts no more.
pub(crate) async fn role(store: &impl Store, shown: &Stranger) -> Result<Option<Role>, Error> {
    let Ok(name) = shown.name.parse::<Name>() else {
        return Ok(None);
    };
    let entry = store.read(&key(&name)).await?;
    let user: Option<User> = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let counts = user.filter(|user| user.serial == shown.serial);
    Ok(counts.map(|user| user.role))
}
