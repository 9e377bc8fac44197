//! SHA-256 of what goes into a stage and of what comes out of it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::sparse::extents;

const BUFFER: usize = 1 << 18;

/// A SHA-256 value; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Holes are hashed as the zeros they stand for, without reading them: the kernel would fill
    /// its cache with empty pages, which costs more than the hash.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        let mut position = 0;
        for (start, end) in extents(&file)? {
            hash_zeros(&mut hasher, start - position);
            position = start;
            while position < end {
                let left = usize::try_from(end - position).unwrap_or(usize::MAX);
                let chunk = &mut buffer[..left.min(BUFFER)];
                file.read_exact_at(chunk, position)?;
                hasher.update(&*chunk);
                position += chunk.len() as u64;
            }
        }
        hash_zeros(&mut hasher, file.metadata()?.len() - position);
        Ok(Self(hasher.finalize().into()))
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("ascii");
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Enough digits to name a cache entry.
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

fn hash_zeros(hasher: &mut Sha256, mut count: u64) {
    let zeros = [0; 1 << 16];
    while count > 0 {
        let size = count.min(zeros.len() as u64);
        hasher.update(&zeros[..size as usize]);
        count -= size;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// The inputs of a stage, each framed by its length so that no two lists run together.
#[derive(Debug, Clone)]
pub struct Inputs(Sha256);

impl Inputs {
    /// `stage` carries the stage's own version, raised when its code gives other bytes.
    pub fn new(stage: &str) -> Self {
        let mut inputs = Self(Sha256::new());
        inputs.add(stage);
        inputs
    }

    pub fn add(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
        self
    }

    pub fn with(mut self, value: impl AsRef<[u8]>) -> Self {
        self.add(value);
        self
    }

    pub fn digest(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_has_the_digest_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(3 << 20).unwrap();
        file.as_file()
            .write_all_at(b"middle", (1 << 20) + 5)
            .unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(Digest::of_file(file.path()).unwrap(), Digest::of(&bytes));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "xyz", &digest.to_string()[1..], &"é".repeat(32)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn inputs_do_not_run_together() {
        let one = Inputs::new("s").with("ab").with("c");
        let other = Inputs::new("s").with("a").with("bc");
        assert_ne!(one.digest(), other.digest());
    }
}
