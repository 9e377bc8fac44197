//! What a machine writes of itself while it works: nothing, unless it matters.

use std::path::Path;
use std::time::Duration;

use super::node::Node;
use crate::root::Root;
use crate::scheduler::keys;
use crate::scheduler::machine::Machine;
use crate::scheduler::service::{Environment, describe, follow_facts};
use crate::store::faulty::Random;
use crate::store::memory::Memory;
use crate::store::{Revision, Store};

const BEAT: Duration = Duration::from_secs(6);

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Loads of a machine with four processors, and its free memory of 8 GiB.
fn works(root: &Path, load: f64, free_mib: u64) {
    write(
        root,
        "proc/loadavg",
        &format!("{load} {load} {load} 1/99 7\n"),
    );
    let free = free_mib * 1024;
    let memory = format!("MemTotal: 8388608 kB\nMemAvailable: {free} kB\n");
    write(root, "proc/meminfo", &memory);
}

async fn revision(memory: &Memory) -> Revision {
    let listing = memory.list(keys::ALL, None, None).await;
    listing.expect("an answer").revision
}

/// As it stands in the store.
async fn told(memory: &Memory, id: &str) -> Machine {
    let key = keys::machine(&id.parse().expect("id"));
    let entry = memory.read(&key).await.expect("an answer");
    serde_json::from_slice(&entry.expect("registered").value).expect("a machine")
}

async fn beats(count: u32) {
    tokio::time::sleep(BEAT * count).await;
}

#[test]
fn a_machine_at_work_writes_its_facts_only_when_they_have_changed_materially() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(super::PAUSED)
        .build()
        .expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let dir = tempfile::tempdir().expect("temp dir");
        let (path, root) = (dir.path(), Root::new(dir.path()));
        let processors = "processor\t: 0\n".repeat(4);
        write(path, "proc/cpuinfo", &processors);
        write(path, "etc/machine-id", "0123456789abcdef\n");
        works(path, 1.0, 4096);
        let environment = Environment::default();
        let machine = describe(&root, &environment).expect("a machine");
        let id = machine.id.to_string();
        let memory = Memory::default();
        let mut node = Node::new(&memory, &Random::new(1), machine, BEAT);
        node.start();
        let following = follow_facts(&root, &environment, &node.machine);
        let story = async {
            beats(10).await;
            let begun = revision(&memory).await;
            for step in 0..200 {
                // Less than a processor's quarter of the loads, a tenth of the memory.
                let wave = f64::from(step % 10) / 10.0;
                works(path, 1.0 + wave, 4096 + 80 * (step as u64 % 10));
                beats(5).await;
            }
            assert_eq!(revision(&memory).await, begun, "1,000 beats, and no write");
            works(path, 1.0, 4096);
            write(path, "etc/machine-id", "0123456789abcdef\n");
            for (load, free, loads_told, free_told) in [
                (2.5, 4096, 2.5, 4096),
                (2.6, 4200, 2.5, 4096),
                (2.6, 2000, 2.6, 2000),
            ] {
                let before = revision(&memory).await;
                works(path, load, free);
                beats(10).await;
                let now = told(&memory, &id).await;
                let fact = |name: &str| now.facts[name].number().expect(name);
                assert_eq!(fact("load5"), loads_told);
                assert_eq!(fact("memory_free"), free_told as f64 * 1048576.0);
                let writes = i64::from(loads_told == load);
                assert_eq!(revision(&memory).await - before, writes, "{load} {free}");
            }
        };
        tokio::select! {
            ended = following => ended.expect("facts are followed for ever"),
            () = story => {}
        }
    });
}
