//! A capture file (pcap, <https://www.ietf.org/archive/id/draft-gharris-opsawg-pcap-01.html>).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
const LONGEST: u32 = 262_144;
const ETHERNET: u32 = 1;

#[derive(Debug)]
pub(super) struct Capture<W: Write>(W);

impl Capture<BufWriter<File>> {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Self::over(BufWriter::new(File::create(path)?))
    }
}

impl<W: Write> Capture<W> {
    fn over(mut file: W) -> io::Result<Self> {
        file.write_all(&MAGIC_MICROSECONDS.to_le_bytes())?;
        for part in VERSION {
            file.write_all(&part.to_le_bytes())?;
        }
        // Time zone and accuracy, which nobody uses.
        file.write_all(&[0; 8])?;
        file.write_all(&LONGEST.to_le_bytes())?;
        file.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Self(file))
    }

    /// `at` counts from the Unix epoch.
    pub(super) fn write(&mut self, at: Duration, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        for number in [seconds, at.subsec_micros(), length, length] {
            self.0.write_all(&number.to_le_bytes())?;
        }
        self.0.write_all(frame)?;
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_header_and_one_record_a_frame() {
        let mut capture = Capture::over(Vec::new()).unwrap();
        capture
            .write(Duration::from_micros(3_000_007), &[0xaa; 3])
            .unwrap();
        let expected = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 3,
            0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xaa, 0xaa,
        ];
        assert_eq!(capture.0, expected);
    }
}
