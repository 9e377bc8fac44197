//! What a site adds to the kernel command line of its releases.
//!
//! Refused is what would not reach the kernel as it was written, and what decides which `/usr` the
//! UKI belongs to: that is the build's.

use std::fmt;
use std::str::FromStr;

use crate::BadInput;

/// The kernel takes 2048 bytes in all; the rest is the recipe's and the machine's.
const LONGEST: usize = 1024;
const OWN: [&str; 1] = ["usrhash"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelOptions(String);

impl KernelOptions {
    pub fn appended_to(&self, mut cmdline: String) -> String {
        if !self.0.is_empty() {
            cmdline.push(' ');
            cmdline.push_str(&self.0);
        }
        cmdline
    }
}

impl FromStr for KernelOptions {
    type Err = BadInput;

    fn from_str(text: &str) -> Result<Self, BadInput> {
        let refuse = |rule: String| Err(BadInput(format!("{text:?}: {rule}")));
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return refuse("kernel options are printable ASCII on one line".into());
        }
        if text.len() > LONGEST {
            return refuse(format!("kernel options are at most {LONGEST} bytes"));
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
        match words
            .iter()
            .map(|word| name(word))
            .find(|name| OWN.contains(&name.as_str()))
        {
            Some(name) => refuse(format!("the build sets {name} itself")),
            None => Ok(Self(words.join(" "))),
        }
    }
}

impl fmt::Display for KernelOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_those_of_the_recipe() {
        let options: KernelOptions = " debug  console=ttyS1,9600 ".parse().unwrap();
        assert_eq!(
            options.appended_to("quiet".into()),
            "quiet debug console=ttyS1,9600"
        );
        assert_eq!(
            KernelOptions::default().appended_to("quiet".into()),
            "quiet"
        );
    }

    #[test]
    fn what_the_kernel_would_not_see_as_written_is_refused() {
        let long = "a".repeat(LONGEST + 1);
        for (text, rule) in [
            ("debug\nquiet", "printable ASCII on one line"),
            ("name=\u{e9}", "printable ASCII on one line"),
            ("quiet usrhash=00", "the build sets usrhash itself"),
            (&long, "at most 1024 bytes"),
        ] {
            let refused = text.parse::<KernelOptions>().unwrap_err().to_string();
            assert!(refused.contains(rule), "{refused}");
        }
    }
}
