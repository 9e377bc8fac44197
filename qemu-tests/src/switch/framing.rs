//! How QEMU's stream sockets carry frames: a length of four bytes, big endian, then the frame.

/// QEMU's own limit: 64 KiB and a page.
const LONGEST: usize = (64 << 10) + 4096;
const PREFIX: usize = 4;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the peer announced a frame of {0} bytes")]
pub(super) struct TooLong(usize);

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let Some(prefix) = self.0.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > LONGEST {
            return Err(TooLong(length));
        }
        if self.0.len() < PREFIX + length {
            return Ok(None);
        }
        let rest = self.0.split_off(PREFIX + length);
        let frame = std::mem::replace(&mut self.0, rest);
        Ok(Some(frame[PREFIX..].to_vec()))
    }
}

pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), frame].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let sent = [vec![1; 60], vec![], vec![2; 1500]];
        let stream: Vec<u8> = sent.iter().flat_map(|frame| framed(frame)).collect();
        for size in [1, 3, 64, stream.len()] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some(frame) = frames.next().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, sent, "{size}");
        }
    }

    #[test]
    fn a_length_beyond_reason_is_refused() {
        let mut frames = Frames::default();
        frames.push(&[0xff; 4]);
        assert_eq!(frames.next(), Err(TooLong(0xffff_ffff)));
    }
}
