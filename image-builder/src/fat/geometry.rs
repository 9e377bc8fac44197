//! Where things are on a FAT volume, and the sectors that say so. No I/O.

use super::Error;
use super::directory::{ENTRY, padded_label};

pub(super) const SECTOR: u64 = 512;
pub(super) const FATS: u64 = 2;
pub(super) const MEDIA: u8 = 0xf8;
pub(super) const ROOT_ENTRIES: u64 = 512;
/// Below this FAT16 is used, from this on FAT32; the number of clusters decides in every reader.
const LEAST_FAT32: u64 = 65_525;
const LEAST_FAT16: u64 = 4085;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat16,
    Fat32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) sectors: u64,
    pub(super) cluster_sectors: u64,
    pub(super) reserved: u64,
    pub(super) fat_sectors: u64,
    pub(super) clusters: u64,
}

impl Geometry {
    pub(super) fn of(size: u64) -> Result<Self, Error> {
        let sectors = size / SECTOR;
        let shapes = [(Width::Fat32, 8, 32, 4), (Width::Fat16, 4, 4, 2)];
        for (width, cluster_sectors, reserved, bytes) in shapes {
            let mut geometry = Self {
                width,
                sectors,
                cluster_sectors,
                reserved,
                fat_sectors: 1,
                clusters: 0,
            };
            // More clusters need a larger FAT, which leaves fewer clusters: this converges.
            for _ in 0..8 {
                let data = sectors
                    .checked_sub(geometry.data_start())
                    .ok_or(Error::Size(size))?;
                geometry.clusters = data / cluster_sectors;
                geometry.fat_sectors = ((geometry.clusters + 2) * bytes).div_ceil(SECTOR);
            }
            let fits = match width {
                Width::Fat32 => geometry.clusters >= LEAST_FAT32 && geometry.clusters < 1 << 28,
                Width::Fat16 => (LEAST_FAT16..LEAST_FAT32).contains(&geometry.clusters),
            };
            if fits && u32::try_from(sectors).is_ok() {
                return Ok(geometry);
            }
        }
        Err(Error::Size(size))
    }

    pub(super) fn root_sectors(&self) -> u64 {
        match self.width {
            Width::Fat16 => ROOT_ENTRIES * ENTRY as u64 / SECTOR,
            Width::Fat32 => 0,
        }
    }

    pub(super) fn data_start(&self) -> u64 {
        self.reserved + FATS * self.fat_sectors + self.root_sectors()
    }

    pub(super) fn cluster_size(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    /// Byte offset of a cluster; the first has number 2.
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        (self.data_start() + (u64::from(cluster) - 2) * self.cluster_sectors) * SECTOR
    }
}

pub(super) fn boot_sector(geometry: &Geometry, label: &str, id: u32) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    let mut put = |offset: usize, bytes: &[u8]| {
        sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let wide = geometry.width == Width::Fat32;
    put(
        0,
        if wide {
            &[0xeb, 0x58, 0x90]
        } else {
            &[0xeb, 0x3c, 0x90]
        },
    );
    put(3, b"STRAKE  ");
    put(11, &(SECTOR as u16).to_le_bytes());
    put(13, &[geometry.cluster_sectors as u8]);
    put(14, &(geometry.reserved as u16).to_le_bytes());
    put(16, &[FATS as u8]);
    put(
        17,
        &(if wide { 0 } else { ROOT_ENTRIES as u16 }).to_le_bytes(),
    );
    put(21, &[MEDIA]);
    put(24, &32_u16.to_le_bytes());
    put(26, &64_u16.to_le_bytes());
    match u16::try_from(geometry.sectors) {
        Ok(sectors) if !wide => put(19, &sectors.to_le_bytes()),
        _ => put(32, &(geometry.sectors as u32).to_le_bytes()),
    }
    let mut extended = 36;
    if wide {
        put(36, &(geometry.fat_sectors as u32).to_le_bytes());
        put(44, &2_u32.to_le_bytes());
        put(48, &1_u16.to_le_bytes());
        put(50, &6_u16.to_le_bytes());
        extended = 64;
    } else {
        put(22, &(geometry.fat_sectors as u16).to_le_bytes());
    }
    put(extended, &[0x80, 0, 0x29]);
    put(extended + 3, &id.to_le_bytes());
    put(extended + 7, &padded_label(label));
    put(extended + 18, if wide { b"FAT32   " } else { b"FAT16   " });
    put(510, &[0x55, 0xaa]);
    sector
}

pub(super) fn info_sector(geometry: &Geometry, used: u32) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    let free = geometry.clusters as u32 - used;
    let fields: [(usize, &[u8]); 5] = [
        (0, b"RRaA"),
        (484, b"rrAa"),
        (488, &free.to_le_bytes()),
        (492, &(used + 1).to_le_bytes()),
        (508, &[0, 0, 0x55, 0xaa]),
    ];
    for (offset, bytes) in fields {
        sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_follows_from_the_size() {
        for (mib, width) in [
            (16, Some(Width::Fat16)),
            (1024, Some(Width::Fat32)),
            (4, None),
        ] {
            assert_eq!(
                Geometry::of(mib << 20).ok().map(|geometry| geometry.width),
                width
            );
        }
    }
}
