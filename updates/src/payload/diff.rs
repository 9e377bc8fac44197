//! A part of a new file as sums on a part of the old one, for programs: what was compiled anew
//! differs in many single bytes, the addresses, and hardly anywhere else.
//!
//! A body is one zstd frame. Its content: the number of steps, the steps, the bytes to add, the
//! bytes to insert. A step says how many bytes are made by adding to the old ones where the last
//! step ended, how many are inserted after them, and how far to move in the old part then; as
//! LEB128 numbers, the move with its sign in the lowest bit.

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub add: usize,
    pub insert: usize,
    pub seek: i64,
}

/// Longest content of a body that makes `length` bytes.
pub fn longest(length: usize) -> usize {
    2 * length + 4096
}

/// The content of a body.
pub fn to_content(steps: &[Step], add: &[u8], insert: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(add.len() + insert.len() + 8 * steps.len());
    write_number(&mut content, steps.len() as u64);
    for step in steps {
        write_number(&mut content, step.add as u64);
        write_number(&mut content, step.insert as u64);
        let sign = u64::from(step.seek < 0);
        write_number(&mut content, step.seek.unsigned_abs() << 1 | sign);
    }
    content.extend(add);
    content.extend(insert);
    content
}

/// Makes exactly `length` bytes, or nothing.
pub fn apply(content: &[u8], old: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut rest = content;
    let count = usize::try_from(read_number(&mut rest)?).ok()?;
    let (mut adds, mut inserts) = (0usize, 0usize);
    let mut first = rest;
    for _ in 0..count {
        let step = read_step(&mut rest)?;
        adds = adds.checked_add(step.add)?;
        inserts = inserts.checked_add(step.insert)?;
    }
    let (add, insert) = rest.split_at_checked(adds)?;
    if insert.len() != inserts || adds.checked_add(inserts)? != length {
        return None;
    }
    let (mut add, mut insert) = (add, insert);
    let mut made = Vec::with_capacity(length);
    let mut at = 0usize;
    for _ in 0..count {
        let step = read_step(&mut first)?;
        let old = old.get(at..at.checked_add(step.add)?)?;
        let sums = old.iter().zip(&add[..step.add]);
        made.extend(sums.map(|(old, add)| old.wrapping_add(*add)));
        made.extend(&insert[..step.insert]);
        (add, insert) = (&add[step.add..], &insert[step.insert..]);
        at = usize::try_from((at + step.add) as i64 + step.seek).ok()?;
    }
    Some(made)
}

fn read_step(bytes: &mut &[u8]) -> Option<Step> {
    let add = usize::try_from(read_number(bytes)?).ok()?;
    let insert = usize::try_from(read_number(bytes)?).ok()?;
    let moved = read_number(bytes)?;
    let distance = i64::try_from(moved >> 1).ok().filter(|d| *d <= 1 << 40)?;
    let seek = if moved & 1 == 1 { -distance } else { distance };
    Some(Step { add, insert, seek })
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(add: usize, insert: usize, seek: i64) -> Step {
        Step { add, insert, seek }
    }

    #[test]
    fn sums_insertions_and_moves_make_the_new_part() {
        let steps = [step(2, 1, -2), step(1, 0, 1), step(1, 2, 0)];
        let content = to_content(&steps, &[0, 1, 255, 0], b"xyz");
        assert_eq!(apply(&content, b"abc", 7).unwrap(), b"acx`cyz");
    }

    #[test]
    fn numbers_are_read_as_written() {
        for number in [0, 1, 127, 128, 300, 1 << 40, (1 << 63) - 1] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = bytes.as_slice();
            assert_eq!(read_number(&mut rest), Some(number));
            assert!(rest.is_empty());
        }
        assert_eq!(read_number(&mut [0x80; 20].as_slice()), None);
    }

    #[test]
    fn contents_that_reach_beyond_their_bytes_make_nothing() {
        let good = to_content(&[step(2, 1, 0)], &[0, 0], b"x");
        assert_eq!(apply(&good, b"ab", 3).unwrap(), b"abx");
        assert_eq!(apply(&good, b"ab", 4), None);
        assert_eq!(apply(&good, b"a", 3), None);
        for cut in 0..good.len() {
            assert_eq!(apply(&good[..cut], b"ab", 3), None, "{cut} bytes");
        }
        let backwards = to_content(&[step(1, 0, -5), step(1, 0, 0)], &[0, 0], b"");
        assert_eq!(apply(&backwards, b"ab", 2), None);
        let huge = to_content(&[step(usize::MAX >> 1, 0, i64::MAX)], &[], b"");
        assert_eq!(apply(&huge, b"ab", 3), None);
        let many = [255, 255, 255, 255, 127];
        assert_eq!(apply(&many, b"ab", 3), None);
    }
}
