//! Small valid inputs, and some that are wrong in one way.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use ed25519_dalek::SigningKey;
use serde_json::json;
use strake_updates::digest::Digest;
use strake_updates::payload::encode;
use strake_updates::payload::tree::Tree;
use strake_updates::time::Timestamp as Time;
use strake_updates::tuf::envelope::Envelope;
use strake_updates::tuf::key::Key;
use strake_updates::tuf::role::{
    Body, Hashes, Head, Hold, Meta, RoleKeys, Roles, Root, Snapshot, Target, Targets, Timestamp,
    TimestampMeta,
};

type Seeds = Vec<(&'static str, Vec<u8>)>;

pub(crate) fn event() -> Seeds {
    let event = json!({
        "machine": "8b862e7a2fff82eba5104871f8c7293c", "channel": "stable", "release": "1.1.0",
        "from": "1.0.0", "kind": "fell_back", "place": 1_091_238_829,
        "cause": "required unit docker.service failed", "time": "2031-05-04T03:02:01Z",
    });
    let mut current = event.clone();
    current["kind"] = json!("checked");
    current["from"] = json!("1.1.0");
    current["cause"] = json!(null);
    let bytes = |value: serde_json::Value| value.to_string().into_bytes();
    vec![
        ("fell-back", bytes(event.clone())),
        ("current", bytes(current)),
        ("list", bytes(json!([event]))),
    ]
}

pub(crate) fn metadata() -> Seeds {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = Key::ed25519(&key.verifying_key());
    let id = public.id().unwrap();
    let role = || RoleKeys {
        keyids: [id].into(),
        threshold: 1.try_into().unwrap(),
    };
    let head = |kind: &str| Head::new(kind, 1, Time::from_unix(2_000_000_000));
    let hashes = || Hashes {
        sha256: Digest::of(b""),
    };
    let meta = || Meta {
        version: 1,
        length: Some(0),
        hashes: Some(hashes()),
    };
    let roles = Roles {
        root: role(),
        timestamp: role(),
        snapshot: role(),
        targets: role(),
    };
    let root = Root {
        head: head(Root::TYPE),
        consistent_snapshot: true,
        keys: [(id, public)].into(),
        roles,
    };
    let offer = json!({"strake": {
        "format": 1, "version": "1.0.0", "architecture": "x86-64", "kernel": "6.12.0",
        "rollout": {
            "start": "2030-01-01T00:00:00Z",
            "waves": [{"percent": 5, "after": 3600}],
            "deadline": 86400,
        },
        "usr": {
            "size": 8192, "root_hash": Digest::of(b"root"), "salt": "00", "blocks": "strake_b",
            "index": {"length": 1, "sha256": Digest::of(b"index")}, "tree": "strake_t",
        },
        "uki": "strake_u",
    }});
    let target = |custom| Target {
        length: 9,
        hashes: hashes(),
        custom,
    };
    let targets: BTreeMap<_, _> = [
        ("stable_1.0.0.json".to_owned(), target(Some(offer))),
        ("strake_b".to_owned(), target(None)),
        ("strake_t".to_owned(), target(None)),
        ("strake_u".to_owned(), target(None)),
    ]
    .into();
    let snapshot_meta = [("targets.json".to_owned(), meta())].into();
    vec![
        ("root", sign(root, &key)),
        (
            "timestamp",
            sign(
                Timestamp {
                    head: head(Timestamp::TYPE),
                    meta: TimestampMeta { snapshot: meta() },
                    issued: Some(Time::from_unix(1_900_000_000)),
                    holds: vec![Hold {
                        channel: "stable".into(),
                        target: "stable_1.0.0.json".into(),
                        since: Time::from_unix(1_900_000_000),
                        reason: "5 of the last 20 fell back".into(),
                    }],
                },
                &key,
            ),
        ),
        (
            "snapshot",
            sign(
                Snapshot {
                    head: head(Snapshot::TYPE),
                    meta: snapshot_meta,
                },
                &key,
            ),
        ),
        (
            "offer",
            sign(
                Targets {
                    head: head(Targets::TYPE),
                    targets,
                    delegations: None,
                },
                &key,
            ),
        ),
        (
            "deep",
            format!("{}{}", "[".repeat(200), "]".repeat(200)).into_bytes(),
        ),
        (
            "number",
            br#"{"signatures":[],"signed":{"version":1e400}}"#.to_vec(),
        ),
        (
            "twice",
            br#"{"signed":{},"signed":{},"signatures":[]}"#.to_vec(),
        ),
    ]
}

fn sign<T: Body>(body: T, key: &SigningKey) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(body).unwrap();
    envelope.sign(key);
    envelope.to_bytes()
}

fn file(content: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

pub(crate) fn patch() -> Seeds {
    let old = [vec![7; 8192], vec![1; 4096]].concat();
    let new = [vec![1; 4096], vec![7; 4096], vec![2; 5000]].concat();
    let mut good = Vec::new();
    encode::patch(&file(&old), &file(&new), 3, &mut good, &mut |_| {}).unwrap();
    let mut huge = good.clone();
    huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut many = good[..32].to_vec();
    many[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    let program: Vec<u8> = (0..1024u32)
        .flat_map(|n| Digest::of(&n.to_le_bytes()).0)
        .collect();
    let mut built_anew = program.clone();
    (0..program.len())
        .step_by(61)
        .for_each(|at| built_anew[at] ^= 0x40);
    let mut sums = Vec::new();
    let (program, built_anew) = (file(&program), file(&built_anew));
    encode::patch(&program, &built_anew, 3, &mut sums, &mut |_| {}).unwrap();
    assert_eq!(sums[36], 2, "the first extent is a diff");
    vec![
        ("good", good),
        ("huge", huge),
        ("many", many),
        ("sums", sums),
    ]
}

pub(crate) fn frames() -> Seeds {
    let content = vec![3; 300 << 10];
    let mut packed = Vec::new();
    let table = encode::frames(&file(&content), 3, &mut packed, &mut |_| {}).unwrap();
    let lengths = |file: u64, content: u64| [file.to_le_bytes(), content.to_le_bytes()].concat();
    let good = [lengths(packed.len() as u64, 300 << 10), table.clone()].concat();
    let endless = [lengths(u64::MAX, u64::MAX), table].concat();
    let frame = [vec![0; 16], zstd::bulk::compress(&[5; 65_536], 3).unwrap()].concat();
    vec![("good", good), ("endless", endless), ("frame", frame)]
}

pub(crate) fn tree() -> Seeds {
    let leaves: Vec<_> = (0..130u64).map(|n| Digest::of(&n.to_le_bytes())).collect();
    let good = Tree::build(&leaves, &[9; 32], [0; 16])
        .unwrap()
        .bytes()
        .to_vec();
    let mut endless = good[..8192].to_vec();
    endless[72..80].copy_from_slice(&(1u64 << 24).to_le_bytes());
    vec![("good", good), ("endless", endless)]
}
