//! The device mapper, by ioctl on /dev/mapper/control: creates one read-only device with one
//! target. Requests are built as bytes (little-endian; layout of `struct dm_ioctl` in
//! linux/dm-ioctl.h), so that their layout is tested.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

const CONTROL: &str = "/dev/mapper/control";
const HEADER: usize = 312;
const TARGET: usize = 40;
const READ_ONLY: u32 = 1;

const DEV_CREATE: u64 = nix::request_code_readwrite!(0xfd, 3, HEADER);
const DEV_SUSPEND: u64 = nix::request_code_readwrite!(0xfd, 6, HEADER);
const TABLE_LOAD: u64 = nix::request_code_readwrite!(0xfd, 9, HEADER);

pub(crate) struct Target<'a> {
    pub(crate) kind: &'a str,
    pub(crate) sectors: u64,
    pub(crate) parameters: &'a str,
}

/// Returns the minor number, which makes the device's name: `/dev/dm-MINOR`.
pub(crate) fn open(name: &str, uuid: &str, target: &Target<'_>) -> Result<u64> {
    let control = OpenOptions::new().read(true).write(true).open(CONTROL);
    let control = control.with_context(|| format!("opening {CONTROL}"))?;
    let created = call::<DEV_CREATE>(&control, request(name, uuid, None))
        .with_context(|| format!("creating the device-mapper device {name}"))?;
    call::<TABLE_LOAD>(&control, request(name, "", Some(target)))
        .with_context(|| format!("loading the {} table `{}`", target.kind, target.parameters))?;
    // A suspend request without the suspend flag resumes: the table comes into force.
    call::<DEV_SUSPEND>(&control, request(name, "", None))
        .with_context(|| format!("activating the device-mapper device {name}"))?;
    Ok(minor(&created))
}

#[allow(unsafe_code)]
fn call<const CODE: u64>(control: &File, mut request: Vec<u8>) -> Result<Vec<u8>> {
    // SAFETY: the request holds its own length at offset 12, which bounds what the kernel reads
    // and writes, and the vector outlives the call.
    let result = unsafe { nix::libc::ioctl(control.as_raw_fd(), CODE as _, request.as_mut_ptr()) };
    nix::errno::Errno::result(result)?;
    Ok(request)
}

fn request(name: &str, uuid: &str, target: Option<&Target<'_>>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &4u32.to_le_bytes());
    put(16, &(HEADER as u32).to_le_bytes());
    put(20, &u32::from(target.is_some()).to_le_bytes());
    put(28, &READ_ONLY.to_le_bytes());
    put(48, name.as_bytes());
    put(176, uuid.as_bytes());
    if let Some(target) = target {
        let length = (TARGET + target.parameters.len() + 1).next_multiple_of(8);
        let mut spec = vec![0; length];
        spec[8..16].copy_from_slice(&target.sectors.to_le_bytes());
        spec[20..24].copy_from_slice(&(length as u32).to_le_bytes());
        spec[24..24 + target.kind.len()].copy_from_slice(target.kind.as_bytes());
        spec[TARGET..TARGET + target.parameters.len()]
            .copy_from_slice(target.parameters.as_bytes());
        bytes.extend(spec);
    }
    let size = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// The kernel's 64-bit device number keeps the low byte of the minor below the major.
fn minor(reply: &[u8]) -> u64 {
    let device = u64::from_le_bytes(reply[40..48].try_into().expect("eight bytes"));
    (device & 0xff) | ((device >> 12) & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_kernel() {
        let target = Target {
            kind: "verity",
            sectors: 0x0102,
            parameters: "1 254:2",
        };
        let bytes = request("usr", "CRYPT", Some(&target));
        assert_eq!(bytes.len(), HEADER + 48);
        assert_eq!(bytes[..4], [4, 0, 0, 0]);
        assert_eq!(bytes[12..16], 360u32.to_le_bytes());
        assert_eq!(bytes[16..20], 312u32.to_le_bytes());
        assert_eq!(bytes[20..24], 1u32.to_le_bytes());
        assert_eq!(bytes[28..32], [1, 0, 0, 0]);
        assert_eq!(bytes[48..52], *b"usr\0");
        assert_eq!(bytes[176..182], *b"CRYPT\0");
        assert_eq!(bytes[HEADER + 8..HEADER + 10], [2, 1]);
        assert_eq!(bytes[HEADER + 20], 48);
        assert_eq!(bytes[HEADER + 24..HEADER + 31], *b"verity\0");
        assert_eq!(bytes[HEADER + 40..], *b"1 254:2\0");
        assert_eq!(DEV_CREATE, 0xc138_fd03);
    }

    #[test]
    fn the_minor_is_put_together_from_both_its_parts() {
        let mut reply = vec![0; HEADER];
        for (device, expected) in [(0xfd00u64, 0), (0xfd05, 5), (0x1000_fd02, 0x10002)] {
            reply[40..48].copy_from_slice(&device.to_le_bytes());
            assert_eq!(minor(&reply), expected);
        }
    }
}
