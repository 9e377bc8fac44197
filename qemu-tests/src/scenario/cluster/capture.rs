//! What the switch has captured between machines, in pcap's format.

/// One after the other; what was not written to its end is left out.
pub(super) fn frames(capture: &[u8]) -> impl Iterator<Item = &[u8]> {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    let mut rest = capture.get(FILE_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(RECORD_HEADER)?;
        let length = [header[8], header[9], header[10], header[11]];
        let (frame, after) = after.split_at_checked(u32::from_le_bytes(length) as usize)?;
        rest = after;
        Some(frame)
    })
}

pub(super) fn holds(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_cut_into_its_frames() {
        let all: [&[u8]; 3] = [b"a plain text", b"", b"abc"];
        let mut capture = vec![0; 24];
        for frame in all {
            let length = (frame.len() as u32).to_le_bytes();
            capture.extend([&[0; 8], &length[..], &length[..], frame].concat());
        }
        capture.extend([0; 7]);
        assert_eq!(frames(&capture).collect::<Vec<_>>(), all);
        assert!(frames(&capture[..20]).next().is_none());
        let plain = |frame: &&[u8]| holds(frame, "plain");
        assert_eq!(frames(&capture).filter(plain).count(), 1);
        assert!(!holds(b"a pl", "plain"));
    }
}
