//! Against file systems made by hand, cluster by cluster.

use super::*;

/// 64 clusters of one sector; FAT at sector 1, data from sector 3. Cluster 2 is the root.
#[derive(Debug)]
pub(crate) struct Image(pub(crate) Vec<u8>);

const CLUSTERS: usize = 64;

impl Image {
    /// `EFI/Linux` with these files, whose names are long ones. A content begins at each
    /// second cluster from 5 on, so that no file lies in one piece.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let mut image = Self(vec![0; (3 + CLUSTERS) * 512]);
        let head = [
            (12, 2),
            (13, 1),
            (14, 1),
            (16, 1),
            (32, 64),
            (36, 2),
            (44, 2),
        ];
        head.iter().for_each(|(at, value)| image.0[*at] = *value);
        image.0[510..512].copy_from_slice(&[0x55, 0xaa]);
        image.put(2, &[entry(b"EFI        ", DIRECTORY, 3, 0)].concat());
        let directories = [
            entry(b"LINUX      ", DIRECTORY, 4, 0),
            entry(b"BOOT       ", DIRECTORY, 60, 0),
        ];
        image.put(3, &directories.concat());
        image.put(60, &entry(b"BOOTX64 EFI", 0x20, 61, 6));
        image.put(61, b"loader");
        let (mut directory, mut next) = (Vec::new(), 5);
        for (number, (name, content)) in files.iter().enumerate() {
            let short = format!("STRAKE~{number}EFI");
            directory.extend(long(name, short.as_bytes()));
            directory.extend(entry(short.as_bytes(), 0x20, next, content.len()));
            for (place, piece) in content.chunks(512).enumerate() {
                let cluster = next + 2 * place;
                let is_last = (place + 1) * 512 >= content.len();
                image.data(cluster, piece);
                image.link(
                    cluster,
                    if is_last {
                        0x0fff_ffff
                    } else {
                        cluster as u32 + 2
                    },
                );
            }
            next += 2 * content.len().div_ceil(512).max(1);
        }
        image.put(4, &directory);
        image
    }

    pub(crate) fn part(&self) -> Part {
        0..self.0.len() as u64
    }

    fn put(&mut self, cluster: usize, bytes: &[u8]) {
        self.data(cluster, bytes);
        self.link(cluster, 0x0fff_ffff);
    }

    fn data(&mut self, cluster: usize, bytes: &[u8]) {
        assert!(bytes.len() <= 512 && cluster < CLUSTERS);
        self.0[(1 + cluster) * 512..][..bytes.len()].copy_from_slice(bytes);
    }

    fn link(&mut self, cluster: usize, next: u32) {
        self.0[512 + cluster * 4..][..4].copy_from_slice(&next.to_le_bytes());
    }
}

fn entry(short: &[u8], attributes: u8, first: usize, size: usize) -> Vec<u8> {
    let mut bytes = short.to_vec();
    bytes.push(attributes);
    bytes.resize(26, 0);
    bytes.extend((first as u16).to_le_bytes());
    bytes.extend((size as u32).to_le_bytes());
    bytes
}

fn long(name: &str, short: &[u8]) -> Vec<u8> {
    let sum = short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    units.push(0);
    units.resize(units.len().next_multiple_of(13), 0xffff);
    let pieces: Vec<&[u16]> = units.chunks(13).collect();
    let piece = |(number, units): (usize, &&[u16])| {
        let mut bytes = vec![0; 32];
        let last = if number + 1 == pieces.len() { 0x40 } else { 0 };
        bytes[0] = (number as u8 + 1) | last;
        (bytes[11], bytes[13]) = (LONG_NAME, sum);
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        for (at, unit) in places.zip(*units) {
            bytes[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes
    };
    let pieces: Vec<Vec<u8>> = pieces.iter().enumerate().map(piece).rev().collect();
    pieces.concat()
}

fn names(image: &Image) -> Vec<String> {
    let fat = Fat::open(&image.0, &image.part()).unwrap();
    fat.list("EFI/Linux")
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect()
}

#[test]
fn files_are_found_by_their_long_names_and_read_along_their_chains() {
    let content: Vec<u8> = (0..1300_u32).map(|number| number as u8).collect();
    let image = Image::with(&[("strake_1.0.0.efi", &content), ("strake_1.1.0+3.efi", b"x")]);
    assert_eq!(names(&image), ["strake_1.0.0.efi", "strake_1.1.0+3.efi"]);
    let fat = Fat::open(&image.0, &image.part()).unwrap();
    let file = fat.find("efi/LINUX", "STRAKE_1.0.0.EFI").unwrap().unwrap();
    assert_eq!(fat.content(&file).unwrap(), content);
    assert!(fat.list("EFI/nothing").unwrap().is_empty());
}

#[test]
fn a_long_name_without_its_entry_leaves_the_short_one() {
    let mut image = Image::with(&[("strake_1.1.0+3.efi", b"x")]);
    let place = (1 + 4) * 512;
    assert_eq!(names(&image), ["strake_1.1.0+3.efi"]);
    image.0[place] = 0xe5;
    assert_eq!(names(&image), ["STRAKE~0.EFI"]);
    image.0[place + 64] = 0xe5;
    assert!(names(&image).is_empty());
}

#[test]
fn a_chain_into_nowhere_or_in_a_circle_is_refused() {
    for next in [0, 1, 64, 0x0fff_fff0, 5] {
        let mut image = Image::with(&[("strake_1.0.0.efi", &[1; 1300])]);
        image.link(7, next);
        let fat = Fat::open(&image.0, &image.part()).unwrap();
        let file = fat.find("EFI/Linux", "strake_1.0.0.efi").unwrap().unwrap();
        assert!(
            matches!(fat.content(&file), Err(InvalidFat::Chain(_))),
            "{next}"
        );
    }
}

#[test]
fn other_bytes_are_no_file_system() {
    let whole = Image::with(&[]);
    for at in [11, 12, 13, 16, 510] {
        let mut image = whole.0.clone();
        image[at] = 0;
        image[11] = if at == 11 { 7 } else { image[11] };
        assert!(Fat::open(&image, &whole.part()).is_err(), "{at}");
    }
    assert!(Fat::open(&whole.0, &(0..1024)).is_err());
    assert!(Fat::open(&vec![0; 4096], &(0..4096)).is_err());
}
