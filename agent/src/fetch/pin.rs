//! The SHA-256 digest that fetched bytes must have.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 64 hexadecimal digits")]
pub struct Invalid;

impl Pin {
    pub fn of(bytes: &[u8]) -> Pin {
        Pin(Sha256::digest(bytes).into())
    }
}

impl FromStr for Pin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Pin, Invalid> {
        if text.len() != 64 {
            return Err(Invalid);
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(Invalid);
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let value = nibble(digits[0])? << 4 | nibble(digits[1])?;
            *byte = u8::try_from(value).map_err(|_| Invalid)?;
        }
        Ok(Pin(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_written_as_it_is_read() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let pin = Pin::of(b"abc");
        assert_eq!(pin.to_string(), text);
        assert_eq!(text.parse(), Ok(pin));
        assert_eq!(text.to_uppercase().parse(), Ok(pin));
        for bad in ["", &text[1..], &text.replace('a', "g"), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Pin>(), Err(Invalid), "{bad}");
        }
    }
}
