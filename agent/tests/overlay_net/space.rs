//! Network namespaces of the host, by iproute2.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

pub(super) fn ip(args: &str) -> Result<String, String> {
    let done = Command::new("ip").args(args.split(' ')).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!(
            "ip {args}: {}",
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

#[track_caller]
pub(crate) fn must(args: &str) -> String {
    ip(args).expect("ip")
}

pub(crate) fn has_nft() -> bool {
    Command::new("nft").arg("--version").output().is_ok()
}

/// Takes this thread to a namespace of its own, or says why none of this can run here.
pub(super) fn enter_new() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may make network namespaces".to_string());
    }
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Err(format!("no network namespace can be made: {error}"));
    }
    ip("link add probe type vxlan id 1 dstport 8472 dev lo")?;
    ip("link del probe").map(|_| ())
}

/// In the namespace of this name.
pub(crate) fn socket(namespace: &str, address: IpAddr) -> UdpSocket {
    let path = Path::new("/run/netns").join(namespace);
    // A socket stays in the namespace of the thread that made it.
    let made = std::thread::spawn(move || {
        let namespace = fs::File::open(path).expect("a namespace");
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("entered");
        UdpSocket::bind((address, 0)).expect("a socket")
    });
    let socket = made.join().expect("a socket");
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).expect("a limit");
    socket
}
