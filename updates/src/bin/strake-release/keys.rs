//! Secret keys in files of mode 0600, encrypted with a passphrase when asked.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use argon2::{Algorithm, Argon2, Params};
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use strake_updates::digest::{hex_bytes, to_hex};
use strake_updates::tuf::key::{Key, KeyId};
use strake_updates::tuf::role::RoleKeys;
use zeroize::Zeroizing;

/// What a key file says.
#[derive(Serialize, Deserialize)]
struct File {
    role: String,
    public: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<Encryption>,
    /// The seed in hexadecimal digits, or its encrypted form.
    secret: Zeroizing<String>,
}

/// Argon2id makes the key of XChaCha20-Poly1305 from the passphrase.
#[derive(Serialize, Deserialize)]
struct Encryption {
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
}

/// Where the passphrase comes from; it is asked for once at most.
pub(crate) struct Passphrase {
    file: Option<PathBuf>,
    known: OnceCell<Zeroizing<String>>,
}

/// The keys at hand.
#[derive(Default)]
pub(crate) struct Keyring {
    keys: BTreeMap<KeyId, SigningKey>,
}

impl Passphrase {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            known: OnceCell::new(),
        }
    }

    fn text(&self) -> anyhow::Result<&str> {
        if self.known.get().is_none() {
            let text = Zeroizing::new(match &self.file {
                Some(path) => fs::read_to_string(path)
                    .with_context(|| format!("reading {}", path.display()))?,
                None => rpassword::prompt_password("Passphrase of the keys: ")
                    .context("asking for the passphrase")?,
            });
            let text = Zeroizing::new(text.trim_end_matches('\n').to_owned());
            ensure!(!text.is_empty(), "the passphrase is empty");
            let _ = self.known.set(text);
        }
        Ok(self.known.get().expect("it was set above"))
    }
}

/// Makes a key for a role and keeps it; the file is on the disk on return.
pub(crate) fn make(
    dir: &Path,
    role: &str,
    passphrase: Option<&Passphrase>,
) -> anyhow::Result<SigningKey> {
    let seed = Zeroizing::new(random::<32>()?);
    let key = SigningKey::from_bytes(&seed);
    let public = Key::ed25519(&key.verifying_key());
    let id = public.id()?.to_string();
    let (encryption, secret) = match passphrase {
        None => (None, to_hex(seed.as_slice())),
        Some(passphrase) => {
            let encryption = Encryption {
                memory_kib: 64 << 10,
                passes: 3,
                salt: to_hex(&random::<16>()?),
                nonce: to_hex(&random::<24>()?),
            };
            let secret = encryption.seal(passphrase.text()?, seed.as_slice())?;
            (Some(encryption), secret)
        }
    };
    let file = File {
        role: role.to_owned(),
        public,
        encryption,
        secret: Zeroizing::new(secret),
    };
    let path = dir.join(format!("{role}-{}.key", &id[..8]));
    write_new(&path, &serde_json::to_vec_pretty(&file)?)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(key)
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // A file is a key only when it is whole: the name appears last.
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("reading randomness")?;
    Ok(bytes)
}

impl Encryption {
    fn cipher(&self, passphrase: &str) -> anyhow::Result<(XChaCha20Poly1305, XNonce)> {
        let parameters = Params::new(self.memory_kib, self.passes, 1, Some(32));
        let argon = parameters.map(|p| Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, p));
        let salt = hex_bytes(&self.salt).context("the salt is not hexadecimal")?;
        let mut key = Zeroizing::new([0; 32]);
        argon
            .and_then(|argon| argon.hash_password_into(passphrase.as_bytes(), &salt, &mut *key))
            .map_err(|error| anyhow::anyhow!("deriving the key: {error}"))?;
        let nonce: Option<[u8; 24]> = hex_bytes(&self.nonce).and_then(|n| n.try_into().ok());
        let nonce = nonce.context("the nonce is not 24 bytes in hexadecimal")?;
        Ok((XChaCha20Poly1305::new((&*key).into()), nonce.into()))
    }

    fn seal(&self, passphrase: &str, seed: &[u8]) -> anyhow::Result<String> {
        let (cipher, nonce) = self.cipher(passphrase)?;
        let sealed = cipher.encrypt(&nonce, seed);
        Ok(to_hex(
            &sealed.map_err(|_| anyhow::anyhow!("encrypting the key"))?,
        ))
    }

    fn open(&self, passphrase: &str, secret: &str) -> anyhow::Result<Vec<u8>> {
        let (cipher, nonce) = self.cipher(passphrase)?;
        let sealed = hex_bytes(secret).context("the secret is not hexadecimal")?;
        cipher
            .decrypt(&nonce, sealed.as_slice())
            .map_err(|_| anyhow::anyhow!("wrong passphrase"))
    }
}

impl Keyring {
    /// Those of a directory's `.key` files that are wanted. Others are not opened, so nobody is
    /// asked for a passphrase that is not needed.
    pub(crate) fn load(
        dir: &Path,
        passphrase: &Passphrase,
        wanted: impl Fn(&KeyId) -> bool,
    ) -> anyhow::Result<Self> {
        let mut keys = BTreeMap::new();
        let entries = fs::read_dir(dir);
        let entries = entries
            .with_context(|| format!("reading the keys in {} (--keys DIR)", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                let key = read(&path, passphrase, &wanted);
                keys.extend(key.with_context(|| format!("reading key {}", path.display()))?);
            }
        }
        Ok(Self { keys })
    }

    /// Whether enough keys of a role are here.
    pub(crate) fn reaches(&self, role: &RoleKeys) -> bool {
        let here = role.keyids.iter().filter(|id| self.keys.contains_key(id));
        here.count() >= role.threshold.get() as usize
    }

    pub(crate) fn key(&self, id: &KeyId) -> Option<&SigningKey> {
        self.keys.get(id)
    }
}

fn read(
    path: &Path,
    passphrase: &Passphrase,
    wanted: impl Fn(&KeyId) -> bool,
) -> anyhow::Result<Option<(KeyId, SigningKey)>> {
    let mode = fs::metadata(path)?.mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "its mode is {mode:o}, so others may read it; use 600"
    );
    let file: File = serde_json::from_slice(&Zeroizing::new(fs::read(path)?))?;
    if !wanted(&file.public.id()?) {
        return Ok(None);
    }
    let seed = match &file.encryption {
        None => hex_bytes(&file.secret).context("the secret is not hexadecimal")?,
        Some(encryption) => encryption.open(passphrase.text()?, &file.secret)?,
    };
    let seed = Zeroizing::new(seed);
    let Ok(seed) = <&[u8; 32]>::try_from(seed.as_slice()) else {
        bail!("the secret is not 32 bytes");
    };
    let key = SigningKey::from_bytes(seed);
    let public = Key::ed25519(&key.verifying_key());
    ensure!(
        public == file.public,
        "the secret does not belong to the public key beside it"
    );
    Ok(Some((public.id()?, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(dir: &Path, text: &str) -> Passphrase {
        let path = dir.join("passphrase");
        fs::write(&path, text).unwrap();
        Passphrase::new(Some(path))
    }

    fn load(dir: &Path, passphrase: &Passphrase) -> Result<usize, String> {
        Keyring::load(dir, passphrase, |_| true)
            .map(|ring| ring.keys.len())
            .map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let right = passphrase(dir.path(), "correct horse\n");
        let key = make(dir.path(), "root", Some(&right)).unwrap();
        let id = Key::ed25519(&key.verifying_key()).id().unwrap();
        let ring = Keyring::load(dir.path(), &right, |_| true).unwrap();
        assert_eq!(ring.key(&id).unwrap().to_bytes(), key.to_bytes());
        let wrong = passphrase(dir.path(), "wrong horse");
        assert!(
            load(dir.path(), &wrong)
                .unwrap_err()
                .ends_with("wrong passphrase")
        );
        let text = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| fs::read_to_string(e.unwrap().path()).unwrap());
        assert!(
            text.into_iter()
                .all(|text| !text.contains(&to_hex(&key.to_bytes())))
        );
    }

    #[test]
    fn nobody_is_asked_for_the_passphrase_of_a_key_that_is_not_wanted() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "root", Some(&passphrase(dir.path(), "secret"))).unwrap();
        let online = make(dir.path(), "timestamp", None).unwrap();
        let online = Key::ed25519(&online.verifying_key()).id().unwrap();
        let nowhere = Passphrase::new(Some(dir.path().join("nowhere")));
        let ring = Keyring::load(dir.path(), &nowhere, |id| *id == online).unwrap();
        assert_eq!(ring.keys.len(), 1);
        assert!(load(dir.path(), &nowhere).unwrap_err().contains("nowhere"));
    }

    #[test]
    fn keys_others_may_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "root", None).unwrap();
        let none = Passphrase::new(None);
        assert_eq!(load(dir.path(), &none), Ok(1));
        let path = fs::read_dir(dir.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            load(dir.path(), &none)
                .unwrap_err()
                .contains("its mode is 640")
        );
    }
}
