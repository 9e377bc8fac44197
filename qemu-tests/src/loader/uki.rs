//! What a UKI says of itself: sections of a PE program.

/// Version and root hash, from `.osrel` and `.cmdline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub version: String,
    pub root_hash: String,
}

/// `None` for what the loader does not take for a UKI.
pub fn facts(program: &[u8]) -> Option<Facts> {
    let osrel = String::from_utf8(section(program, ".osrel")?.to_vec()).ok()?;
    let cmdline = String::from_utf8(section(program, ".cmdline")?.to_vec()).ok()?;
    let value = |key: &str| {
        let line = osrel
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\0']).to_owned())
    };
    let words = cmdline.split([' ', '\n', '\0']);
    let root_hash = words
        .filter_map(|word| word.strip_prefix("usrhash="))
        .next_back()?;
    Some(Facts {
        version: value("IMAGE_VERSION").or_else(|| value("VERSION_ID"))?,
        root_hash: root_hash.to_owned(),
    })
}

fn section<'a>(program: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at.checked_add(length)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let head = number(0x3c, 4)?;
    if program.get(head..head + 4)? != b"PE\0\0" {
        return None;
    }
    let (count, optional) = (number(head + 6, 2)?, number(head + 20, 2)?);
    (0..count).find_map(|index| {
        let at = head + 24 + optional + index * 40;
        let found = program.get(at..at + 8)?;
        let length = found.iter().position(|byte| *byte == 0).unwrap_or(8);
        if &found[..length] != name.as_bytes() {
            return None;
        }
        let (size, stored, offset) = (number(at + 8, 4)?, number(at + 16, 4)?, number(at + 20, 4)?);
        program.get(offset..offset.checked_add(size.min(stored))?)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn program(sections: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = vec![0; 0x40];
        bytes[0x3c] = 0x40;
        bytes.extend(b"PE\0\0\x64\x86");
        bytes.extend([u8::try_from(sections.len()).unwrap(), 0]);
        bytes.resize(0x40 + 24, 0);
        let mut data = 0x400_u32;
        for (name, text) in sections {
            let start = bytes.len();
            bytes.extend(name.as_bytes());
            bytes.resize(start + 8, 0);
            for field in [text.len() as u32, 0, 512, data] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.resize(start + 40, 0);
            data += 512;
        }
        for (number, (_, text)) in sections.iter().enumerate() {
            bytes.resize(0x400 + 512 * number, 0);
            bytes.extend(text.as_bytes());
        }
        bytes.resize(0x400 + 512 * sections.len(), 0);
        bytes
    }

    const OSREL: &str = "ID=strake\nIMAGE_VERSION=\"1.2.0\"\nVERSION_ID=1.2\n";

    #[test]
    fn version_and_root_hash_are_read_from_their_sections() {
        let uki = program(&[(".osrel", OSREL), (".cmdline", "usrhash=ab12 quiet\n")]);
        let found = facts(&uki).unwrap();
        assert_eq!((&*found.version, &*found.root_hash), ("1.2.0", "ab12"));
    }

    #[test]
    fn other_files_are_no_ukis() {
        let whole = program(&[(".osrel", OSREL), (".cmdline", "usrhash=ab12")]);
        assert_eq!(facts(b"MZ"), None);
        assert_eq!(facts(&program(&[(".osrel", OSREL)])), None);
        assert_eq!(
            facts(&program(&[(".osrel", OSREL), (".cmdline", "quiet")])),
            None
        );
        for length in 0..0x600 {
            assert_eq!(facts(&whole[..length]), None, "{length}");
        }
    }
}
