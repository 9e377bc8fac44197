//! Directories of a FAT volume: short names, long names, the volume's label. No I/O.

pub(super) const ENTRY: usize = 32;
/// 2026-01-01, the project's epoch, as FAT packs it; the time of day is zero.
const DATE: u16 = (2026 - 1980) << 9 | 1 << 5 | 1;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;
/// UTF-16 units of a long name in one entry, and where they are.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// A file, or a directory when it has no size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    pub(super) first: u32,
    pub(super) size: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Directory {
    bytes: Vec<u8>,
    short_names: Vec<[u8; 11]>,
}

impl Directory {
    pub(super) fn root(label: &str) -> Self {
        Self {
            bytes: entry(&padded_label(label), LABEL, 0, 0).to_vec(),
            short_names: Vec::new(),
        }
    }

    pub(super) fn below(own: u32, parent: u32) -> Self {
        let mut bytes = entry(b".          ", DIRECTORY, own, 0).to_vec();
        bytes.extend(entry(b"..         ", DIRECTORY, parent, 0));
        Self {
            bytes,
            short_names: Vec::new(),
        }
    }

    /// None if FAT cannot hold the name or the size.
    pub(super) fn add(&mut self, item: &Item<'_>) -> Option<()> {
        let size = u32::try_from(item.size.unwrap_or(0)).ok()?;
        let sound = |c: char| !c.is_control() && !"\"*/:<>?\\|".contains(c);
        if item.name.encode_utf16().count() > 255 || !item.name.chars().all(sound) {
            return None;
        }
        let short = match plain(item.name) {
            Some(short) => short,
            None => {
                let short = self.numbered(item.name)?;
                self.bytes.extend(long_entries(item.name, &short));
                short
            }
        };
        if self.short_names.contains(&short) {
            return None;
        }
        self.short_names.push(short);
        let attributes = if item.size.is_some() {
            ARCHIVE
        } else {
            DIRECTORY
        };
        self.bytes
            .extend(entry(&short, attributes, item.first, size));
        Some(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `LONGNA~1.EXT`, with the first number that is free.
    fn numbered(&self, name: &str) -> Option<[u8; 11]> {
        let allowed = |text: &str| -> Vec<u8> {
            let kept = text.bytes().filter(u8::is_ascii_alphanumeric);
            kept.map(|byte| byte.to_ascii_uppercase()).collect()
        };
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let (stem, extension) = (allowed(stem), allowed(extension));
        (1..1000).find_map(|number| {
            let tail = format!("~{number}");
            let kept = stem.len().min(8 - tail.len());
            let mut short = [b' '; 11];
            short[..kept].copy_from_slice(&stem[..kept]);
            short[kept..kept + tail.len()].copy_from_slice(tail.as_bytes());
            let kept = extension.len().min(3);
            short[8..8 + kept].copy_from_slice(&extension[..kept]);
            (!self.short_names.contains(&short)).then_some(short)
        })
    }
}

/// Bytes of a directory with these names.
pub(super) fn size<'a>(root: bool, names: impl Iterator<Item = &'a str>) -> usize {
    let own = if root { 1 } else { 2 };
    let entries = |name: &str| match plain(name) {
        Some(_) => 1,
        None => 1 + name.encode_utf16().count().div_ceil(UNITS.len()),
    };
    (own + names.map(entries).sum::<usize>()) * ENTRY
}

pub(super) fn padded_label(label: &str) -> [u8; 11] {
    let mut padded = [b' '; 11];
    padded
        .iter_mut()
        .zip(label.bytes())
        .for_each(|(place, byte)| *place = byte);
    padded
}

/// The name as 8.3, if it is one.
fn plain(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let sound = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    let fits = (1..=8).contains(&stem.len())
        && extension.len() <= 3
        && !name.ends_with('.')
        && stem.bytes().chain(extension.bytes()).all(sound);
    let mut short = [b' '; 11];
    if fits {
        short[..stem.len()].copy_from_slice(stem.as_bytes());
        short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    }
    fits.then_some(short)
}

fn entry(name: &[u8; 11], attributes: u8, first: u32, size: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    // Made, last read, last written.
    for offset in [16, 18, 24] {
        entry[offset..offset + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    entry[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
    entry[26..28].copy_from_slice(&(first as u16).to_le_bytes());
    entry[28..].copy_from_slice(&size.to_le_bytes());
    entry
}

/// The entries of a long name, last part first, bound to the short name by its checksum.
fn long_entries(name: &str, short: &[u8; 11]) -> Vec<u8> {
    let checksum = short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts: Vec<&[u16]> = units.chunks(UNITS.len()).collect();
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let mut entry = [0; ENTRY];
        let last = if index + 1 == parts.len() { 0x40 } else { 0 };
        entry[0] = (index as u8 + 1) | last;
        entry[11] = LONG_NAME;
        entry[13] = checksum;
        // A short last part is ended by 0 and filled with ones.
        let filled = part
            .iter()
            .copied()
            .chain([0])
            .chain(std::iter::repeat(0xffff));
        for (offset, unit) in UNITS.iter().zip(filled) {
            entry[*offset..offset + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend(entry);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_where_they_can_be() {
        for (name, short) in [
            ("EFI", Some(b"EFI        ")),
            ("BOOTX64.EFI", Some(b"BOOTX64 EFI")),
            ("loader", None),
            ("TOO.LONGEXT", None),
            ("A.B.C", None),
        ] {
            assert_eq!(plain(name), short.copied(), "{name}");
        }
    }

    #[test]
    fn equal_beginnings_get_different_numbers() {
        let mut directory = Directory::root("X");
        for name in ["loader.conf", "loader.configuration"] {
            directory
                .add(&Item {
                    name,
                    first: 5,
                    size: Some(1),
                })
                .unwrap();
        }
        assert_eq!(directory.short_names, [*b"LOADER~1CON", *b"LOADER~2CON"]);
        let names = ["loader.conf", "loader.configuration"].into_iter();
        assert_eq!(directory.into_bytes().len(), size(true, names));
    }

    #[test]
    fn a_name_that_fat_forbids_is_refused() {
        for name in ["a:b", "a\u{1}", &"x".repeat(256)] {
            assert!(
                Directory::root("X")
                    .add(&Item {
                        name,
                        first: 0,
                        size: None
                    })
                    .is_none()
            );
        }
    }
}
