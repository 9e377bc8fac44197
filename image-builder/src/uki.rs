//! Unified kernel images: sections appended to systemd's EFI stub. No I/O.
//!
//! PE/COFF as the UEFI specification uses it (PE32+). The stub finds its sections by name; ukify
//! places them in the same way, which a test compares.

const SECTION_HEADER: usize = 40;
const PE32_PLUS: u16 = 0x20b;
const CODE: u32 = 0x6000_0020;
const DATA: u32 = 0x4000_0040;

#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    pub name: &'static str,
    pub data: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the EFI stub is no PE32+ program")]
    NoStub,
    #[error("the EFI stub's header has no room for more sections")]
    NoRoom,
    #[error("a section is too large")]
    TooLarge,
}

/// A section as found in a PE file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub address: u32,
    pub size: u32,
    pub offset: u32,
}

struct Header {
    pe: usize,
    optional: usize,
    table: usize,
    sections: usize,
    section_alignment: u32,
    file_alignment: u32,
    headers_size: u32,
}

/// The stub with the sections appended in the given order.
pub fn append(stub: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, Refused> {
    let header = parse(stub)?;
    let present = read(stub)?;
    let table_end = header.table + (header.sections + sections.len()) * SECTION_HEADER;
    let first_data = present
        .iter()
        .map(|s| s.offset)
        .filter(|o| *o > 0)
        .min()
        .unwrap_or(0);
    // The headers may grow into the padding before the first section's data.
    if table_end > first_data as usize {
        return Err(Refused::NoRoom);
    }
    let mut image = stub.to_vec();
    let headers_size = aligned(table_end, header.file_alignment)?.max(header.headers_size);
    put(&mut image, header.optional + 60, headers_size);
    image.resize(aligned(image.len(), header.file_alignment)? as usize, 0);
    let end = |section: &Found| section.address as usize + section.size as usize;
    let mut address = present.iter().map(end).max().unwrap_or(0);
    let mut added_data = long(&image, header.optional + 8);
    for (index, section) in sections.iter().enumerate() {
        let start = aligned(address, header.section_alignment)?;
        let size = u32::try_from(section.data.len()).map_err(|_| Refused::TooLarge)?;
        let raw_size = aligned(section.data.len(), header.file_alignment)?;
        let offset = u32::try_from(image.len()).map_err(|_| Refused::TooLarge)?;
        let code = section.name == ".linux";
        let entry = header.table + (header.sections + index) * SECTION_HEADER;
        image[entry..entry + SECTION_HEADER].fill(0);
        image[entry..entry + section.name.len()].copy_from_slice(section.name.as_bytes());
        put(&mut image, entry + 8, size);
        put(&mut image, entry + 12, start);
        put(&mut image, entry + 16, raw_size);
        put(&mut image, entry + 20, offset);
        put(&mut image, entry + 36, if code { CODE } else { DATA });
        image.extend_from_slice(section.data);
        image.resize((offset + raw_size) as usize, 0);
        address = start as usize + section.data.len();
        added_data = added_data.wrapping_add(if code { 0 } else { size });
    }
    let count = u16::try_from(header.sections + sections.len()).map_err(|_| Refused::NoRoom)?;
    image[header.pe + 6..header.pe + 8].copy_from_slice(&count.to_le_bytes());
    put(&mut image, header.optional + 8, added_data);
    let image_size = aligned(address, header.section_alignment)?;
    put(&mut image, header.optional + 56, image_size);
    // A checksum of zero means that there is none; firmware does not look.
    put(&mut image, header.optional + 64, 0);
    Ok(image)
}

/// The sections of a PE file.
pub fn read(image: &[u8]) -> Result<Vec<Found>, Refused> {
    let header = parse(image)?;
    let entry = |index: usize| {
        let start = header.table + index * SECTION_HEADER;
        let entry = image
            .get(start..start + SECTION_HEADER)
            .ok_or(Refused::NoStub)?;
        let name = entry[..8]
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        Ok(Found {
            name: String::from_utf8_lossy(name).into_owned(),
            size: long(entry, 8),
            address: long(entry, 12),
            offset: long(entry, 20),
        })
    };
    (0..header.sections).map(entry).collect()
}

fn parse(image: &[u8]) -> Result<Header, Refused> {
    let in_file = |offset: usize, size: usize| {
        offset
            .checked_add(size)
            .filter(|end| *end <= image.len())
            .ok_or(Refused::NoStub)
    };
    in_file(0, 64)?;
    let pe = long(image, 60) as usize;
    in_file(pe, 24)?;
    if &image[..2] != b"MZ" || &image[pe..pe + 4] != b"PE\0\0" {
        return Err(Refused::NoStub);
    }
    let short = |offset: usize| u16::from_le_bytes([image[offset], image[offset + 1]]);
    let (sections, optional_size) = (short(pe + 6) as usize, short(pe + 20) as usize);
    let optional = pe + 24;
    in_file(optional, optional_size.max(112))?;
    let table = optional + optional_size;
    in_file(table, sections * SECTION_HEADER)?;
    let header = Header {
        pe,
        optional,
        table,
        sections,
        section_alignment: long(image, optional + 32),
        file_alignment: long(image, optional + 36),
        headers_size: long(image, optional + 60),
    };
    let sound =
        header.section_alignment.is_power_of_two() && header.file_alignment.is_power_of_two();
    if short(optional) == PE32_PLUS && sound {
        Ok(header)
    } else {
        Err(Refused::NoStub)
    }
}

fn aligned(value: usize, alignment: u32) -> Result<u32, Refused> {
    let aligned = value.checked_next_multiple_of(alignment as usize);
    aligned
        .and_then(|value| u32::try_from(value).ok())
        .ok_or(Refused::TooLarge)
}

fn long(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("4 bytes"))
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PE file with one section of 512 bytes and headers of `room` bytes.
    fn stub(room: usize) -> Vec<u8> {
        let mut bytes = vec![0; room + 512];
        bytes[..2].copy_from_slice(b"MZ");
        put(&mut bytes, 60, 64);
        bytes[64..68].copy_from_slice(b"PE\0\0");
        bytes[70] = 1;
        bytes[84] = 112;
        bytes[88..90].copy_from_slice(&PE32_PLUS.to_le_bytes());
        put(&mut bytes, 88 + 32, 4096);
        put(&mut bytes, 88 + 36, 512);
        put(&mut bytes, 88 + 60, 512);
        let table = 88 + 112;
        bytes[table..table + 5].copy_from_slice(b".text");
        put(&mut bytes, table + 8, 500);
        put(&mut bytes, table + 12, 4096);
        put(&mut bytes, table + 16, 512);
        put(&mut bytes, table + 20, room as u32);
        bytes
    }

    #[test]
    fn appended_sections_are_found_with_their_content() {
        let sections = [
            Section {
                name: ".cmdline",
                data: b"a=b",
            },
            Section {
                name: ".linux",
                data: &[7; 5000],
            },
        ];
        let image = append(&stub(1024), &sections).unwrap();
        let found = read(&image).unwrap();
        assert_eq!(found.len(), 3);
        for (section, found) in sections.iter().zip(&found[1..]) {
            let (start, size) = (found.offset as usize, found.size as usize);
            assert_eq!(
                (found.name.as_str(), &image[start..start + size]),
                (section.name, section.data)
            );
            assert_eq!((found.address % 4096, found.offset % 512), (0, 0));
        }
        assert_eq!(found[2].address, 3 * 4096);
        assert_eq!(image.len() % 512, 0);
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        let one = [Section {
            name: ".linux",
            data: b"x",
        }];
        assert_eq!(append(b"", &one), Err(Refused::NoStub));
        assert_eq!(append(&[0; 600], &one), Err(Refused::NoStub));
        let good = stub(1024);
        (0..good.len() - 512).for_each(|end| drop(append(&good[..end], &one)));
        assert_eq!(append(&stub(256), &one), Err(Refused::NoRoom));
    }
}
