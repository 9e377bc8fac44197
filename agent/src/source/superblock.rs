//! Labels of the two file systems a config drive can have, read from its first bytes. Pure.
//!
//! Udev's by-label links do not exist yet when the config is read.

/// Bytes to read: the volume descriptor of ISO 9660 ends here.
pub const HEAD: usize = ISO_DESCRIPTOR + 2048;

const ISO_DESCRIPTOR: usize = 16 * 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Vfat,
    Iso9660,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Vfat => "vfat",
            Kind::Iso9660 => "iso9660",
        }
    }
}

/// Kind and label of the file system that starts with `head`.
pub fn label(head: &[u8]) -> Option<(Kind, String)> {
    iso(head).or_else(|| vfat(head))
}

fn iso(head: &[u8]) -> Option<(Kind, String)> {
    let descriptor = head.get(ISO_DESCRIPTOR..)?;
    if descriptor.get(..6)? != b"\x01CD001" {
        return None;
    }
    Some((Kind::Iso9660, trimmed(descriptor.get(40..72)?)))
}

fn vfat(head: &[u8]) -> Option<(Kind, String)> {
    if head.get(510..512)? != b"\x55\xaa" {
        return None;
    }
    // FAT32 has no 16-bit table size, and its extended fields lie 28 bytes further on.
    let field = if head.get(22..24)? == b"\0\0" { 71 } else { 43 };
    let kind = head.get(field + 11..field + 14)?;
    (kind == b"FAT")
        .then(|| head.get(field..field + 11).map(trimmed))
        .flatten()
        .map(as_vfat)
}

fn as_vfat(label: String) -> (Kind, String) {
    (Kind::Vfat, label)
}

fn trimmed(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    text.trim_end_matches([' ', '\0']).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (at, bytes) in parts {
            head[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn labels_are_read_from_both_kinds() {
        let fat32 = head(&[(510, b"\x55\xaa"), (71, b"config-2   FAT32   ")]);
        let fat16 = head(&[
            (510, b"\x55\xaa"),
            (22, b"\x40\0"),
            (43, b"CIDATA     FAT16   "),
        ]);
        let iso = head(&[
            (ISO_DESCRIPTOR, b"\x01CD001\x01"),
            (ISO_DESCRIPTOR + 40, b"cidata  "),
        ]);
        let boot_sector = head(&[(510, b"\x55\xaa")]);
        let cases = [
            (&fat32[..], Some((Kind::Vfat, "config-2"))),
            (&fat16[..], Some((Kind::Vfat, "CIDATA"))),
            (&fat16[..512], Some((Kind::Vfat, "CIDATA"))),
            (&iso[..], Some((Kind::Iso9660, "cidata"))),
            (&boot_sector[..], None),
            (&fat32[..100], None),
            (&[], None),
        ];
        for (bytes, expected) in cases {
            let found = label(bytes);
            assert_eq!(
                found.as_ref().map(|(kind, label)| (*kind, label.as_str())),
                expected
            );
        }
    }
}
