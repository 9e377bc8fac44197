//! The kernel's initrd archive: cpio in the `newc` format, from a tree. Inode numbers count up and
//! times are zero, so equal trees give equal bytes.

use std::io::{self, Write};

use crate::tree::{Kind, Node, Tree};

const TRAILER: &str = "TRAILER!!!";

pub fn write(tree: &Tree, mut output: impl Write) -> io::Result<()> {
    let mut inode = 0;
    for (path, node) in tree.iter() {
        inode += 1;
        let (kind, data) = match &node.kind {
            Kind::Directory => (0o040_000, Vec::new()),
            Kind::Symlink(target) => (0o120_000, target.clone().into_bytes()),
            Kind::File(content) => (0o100_000, content.read()?),
        };
        member(&mut output, path, inode, kind | node.mode, node, &data)?;
    }
    member(&mut output, TRAILER, 0, 0, &Node::directory(0), &[])
}

fn member(
    output: &mut impl Write,
    name: &str,
    inode: u32,
    mode: u32,
    node: &Node,
    data: &[u8],
) -> io::Result<()> {
    let links = if node.is_directory() { 2 } else { 1 };
    let size = u32::try_from(data.len()).map_err(io::Error::other)?;
    let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    let fields = [
        inode, mode, node.uid, node.gid, links, 0, size, 0, 0, 0, 0, name_size, 0,
    ];
    let mut head = String::from("070701");
    fields
        .iter()
        .for_each(|field| head.push_str(&format!("{field:08x}")));
    head.push_str(name);
    head.push('\0');
    output.write_all(head.as_bytes())?;
    pad(output, head.len())?;
    output.write_all(data)?;
    pad(output, data.len())
}

fn pad(output: &mut impl Write, length: usize) -> io::Result<()> {
    output.write_all(&[0; 3][..length.next_multiple_of(4) - length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_padded_and_ended_by_the_trailer() {
        let mut tree = Tree::default();
        tree.insert("init", Node::file(0o755, &b"hello"[..]));
        let mut bytes = Vec::new();
        write(&tree, &mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).replace('\0', ".");
        let expected = "07070100000001000081ed00000000000000000000000100000000000000050000000000000000\
                        000000000000000000000005\u{30}0000000init..hello...";
        assert_eq!(text[..expected.len()], *expected);
        assert!(text.contains(TRAILER));
        assert_eq!(bytes.len() % 4, 0);
    }
}
