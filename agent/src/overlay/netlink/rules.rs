//! nftables: rules are loaded by the program `nft`, which does it in one step; whether anybody has
//! changed any rule since is asked over netlink, which costs nothing.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use serde_json::Value;

use crate::overlay::cidr::Family;
use crate::overlay::docker_user::CHAIN;
use crate::overlay::rules::word;

pub(super) fn load(text: &str) -> io::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    let done = nft.wait_with_output()?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let told = String::from_utf8_lossy(&done.stderr);
            Err(io::Error::other(told.trim().replace('\n', " ")))
        }
    }
}

/// Nothing where there is no such chain.
pub(super) fn list(family: Family) -> io::Result<Option<Value>> {
    let listed = Command::new("nft")
        .args(["-j", "-a", "list", "chain", word(family), "filter", CHAIN])
        .stdin(Stdio::null())
        .output()?;
    match listed.status.success() {
        true => Ok(Some(serde_json::from_slice(&listed.stdout)?)),
        false => Ok(None),
    }
}

/// `NFT_MSG_GETGEN` of the subsystem nftables.
const GET_GENERATION: u16 = 10 << 8 | 16;
const NEW_GENERATION: u16 = 10 << 8 | 15;
const REQUEST: u16 = 1;
/// A netlink header and the one of netfilter.
const HEADERS: usize = 20;
/// Length and type of an attribute.
const ATTRIBUTE: usize = 4;

/// The number of the rules in force: another one as soon as anybody changed any.
pub(super) fn generation() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::with_capacity(HEADERS);
    request.extend((HEADERS as u32).to_ne_bytes());
    request.extend(GET_GENERATION.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    // Sequence, port, and netfilter's header: no family, no version.
    request.extend([0; 12]);
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let unknown = || io::Error::other("an answer of another kind");
    let kind = answer.get(4..6).ok_or_else(unknown)?;
    if kind != NEW_GENERATION.to_ne_bytes() {
        return Err(unknown());
    }
    // The generation is the first attribute.
    let value = answer.get(HEADERS + ATTRIBUTE..HEADERS + ATTRIBUTE + 4);
    let value: [u8; 4] = value.and_then(|v| v.try_into().ok()).ok_or_else(unknown)?;
    Ok(u32::from_be_bytes(value))
}
