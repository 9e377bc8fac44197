//! What must hold for any bytes. The fuzz targets and the replay of their corpus call these.

use strake_updates::digest::Digest;
use strake_updates::offer::{BLOCK, Catalog};
use strake_updates::payload::{diff, frames, patch, tree};
use strake_updates::report;
use strake_updates::time::Timestamp;
use strake_updates::tuf::chain::Chain;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::role;
use strake_updates::tuf::workflow::Seen;

/// Metadata of any role: what is read can be written and is read the same again.
pub(crate) fn metadata(data: &[u8]) {
    round_trip::<role::Root>(data);
    round_trip::<role::Timestamp>(data);
    round_trip::<role::Snapshot>(data);
    round_trip::<role::Targets>(data);
    if let Ok(envelope) = Envelope::<role::Targets>::parse(data, 1 << 20) {
        let channel = "stable".parse().expect("a plain channel");
        let catalog = Catalog::read(&channel, envelope.body());
        for offer in &catalog.offers {
            assert!(offer.salt().len() <= 256);
            assert_eq!(
                offer.to_custom()["strake"]["version"],
                offer.version.to_string()
            );
        }
    }
    if let Ok(chain) = Chain::start(data) {
        let _ = chain.close(Seen::default(), Timestamp::from_unix(0));
    }
}

fn round_trip<T: role::Body>(data: &[u8]) {
    let Ok(envelope) = Envelope::<T>::parse(data, 1 << 20) else {
        return;
    };
    let written = envelope.to_bytes();
    let again = Envelope::<T>::parse(&written, u64::MAX).expect("what was written is read");
    assert_eq!(again.to_bytes(), written);
}

/// A machine's report: what is taken can be written, within the limit, and is taken again.
pub(crate) fn event(data: &[u8]) {
    let Ok(event) = report::Event::parse(data) else {
        return;
    };
    let written = event.to_bytes();
    let again = report::Event::parse(&written).expect("what was written is read");
    assert_eq!(again, event);
}

/// A whole patch: no extent makes more than its table says, nor reads outside the files.
pub(crate) fn patch(data: &[u8]) {
    for length in [0, 1, 5000] {
        if let Some(made) = diff::apply(data, &[7; 8192], length) {
            assert_eq!(made.len(), length);
        }
    }
    let length = patch::table_length(data);
    let Some(table) = data.get(..length as usize) else {
        return;
    };
    let Ok(table) = patch::Table::parse(table, data.len() as u64) else {
        return;
    };
    assert_eq!(table.to_bytes(), data[..length as usize]);
    let mut made = 0;
    for extent in table.extents.iter().take(8) {
        let old = vec![7; (extent.old.end - extent.old.start) as usize];
        let body = &data[extent.body.start as usize..extent.body.end as usize];
        assert!(extent.old.end <= table.old_size && extent.new.start == made);
        if let Ok(new) = patch::decode(extent, &old, body) {
            assert_eq!(new.len() as u64, extent.new.end - extent.new.start);
        }
        made = extent.new.end;
    }
    let blocks = table.making(0..4, BLOCK);
    assert!(blocks.is_sorted() && blocks.iter().all(|number| *number < table.extents.len()));
}

/// A frame table behind the lengths it must add up to, and bytes as a frame.
pub(crate) fn frames(data: &[u8]) {
    let Some((lengths, table)) = data.split_at_checked(16) else {
        return;
    };
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let (file, content) = (number(&lengths[..8]), number(&lengths[8..]));
    if let Ok(index) = frames::Index::parse(table, file, content) {
        let lengths: Vec<_> = index.frames.iter().map(|f| (f.length, f.raw)).collect();
        assert_eq!(frames::Index::to_table(&lengths), table);
        assert!(
            index
                .holding(0..4)
                .iter()
                .all(|frame| *frame < index.frames.len())
        );
    }
    let frame = frames::Frame {
        offset: 0,
        length: 0,
        start: 0,
        raw: 65_536,
    };
    if let Ok(raw) = frames::decode(&frame, table) {
        assert_eq!(raw.len(), 65_536);
    }
}

/// A partition with a tree over as many blocks as its superblock claims, if its root is right.
pub(crate) fn tree(data: &[u8]) {
    let field = |at: usize, length: usize| data.get(at..at + length);
    let (Some(blocks), Some(root)) = (field(72, 8), field(4096, 4096)) else {
        return;
    };
    let data_blocks = u64::from_le_bytes(blocks.try_into().expect("eight bytes"));
    let salt = field(88, 32).unwrap_or_default().to_vec();
    let root_hash = Digest::salted(&salt, root);
    let shape = tree::Shape {
        data_blocks,
        salt,
        root_hash,
    };
    if let Ok(tree) = tree::Tree::parse(data.to_vec(), shape) {
        assert_eq!(tree.leaves().count() as u64, data_blocks);
        assert_eq!(
            tree.leaf(data_blocks - 1),
            tree.leaves().last().expect("two blocks or more")
        );
    }
}
