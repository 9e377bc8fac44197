//! `#!` user-data: kept as a file and run by a unit of its own once the network is up.

use std::path::PathBuf;

use strake_cloud_config::Plan;

use super::desired::Moment;
use super::tree::{Node, Tree};

pub fn add(plan: &Plan, moment: Moment, tree: &mut Tree) {
    for (number, script) in plan.scripts.iter().enumerate() {
        if !moment.covers(script.phase) {
            continue;
        }
        let file = format!("/run/strake/scripts/user-{number}");
        let content = script.text.clone().into_bytes();
        let node = Node::File {
            content,
            mode: 0o700,
            uid: 0,
            gid: 0,
        };
        tree.insert(PathBuf::from(&file), node);
        let unit = format!("/run/systemd/system/{}", unit_name(number));
        tree.insert(PathBuf::from(&unit), Node::text(unit_text(&file)));
    }
}

pub fn unit_name(number: usize) -> String {
    format!("strake-script-{number}.service")
}

// Not oneshot: nothing may wait for how long a user's script takes.
fn unit_text(file: &str) -> String {
    format!(
        "[Unit]\n\
         Description=Script of the user-data\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={file}\n"
    )
}
