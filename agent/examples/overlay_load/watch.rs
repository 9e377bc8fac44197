//! Routes of many namespaces, each with the moment at which the kernel told of it.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use crate::net::Node;

/// `RTNLGRP_IPV4_ROUTE`.
const ROUTES: u32 = 7;
const BUFFER: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Added,
    Removed,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    pub(crate) what: What,
    pub(crate) to: IpAddr,
    pub(crate) at: Instant,
}

pub(crate) struct Watcher {
    sockets: Vec<Socket>,
}

impl Watcher {
    pub(crate) fn new(nodes: &[Node]) -> Result<Watcher> {
        let sockets = nodes.iter().map(socket_in).collect::<Result<_>>()?;
        Ok(Watcher { sockets })
    }

    /// What comes until nothing is wanted any more, or the time is over.
    pub(crate) fn until(
        &self,
        limit: Duration,
        mut is_enough: impl FnMut(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>> {
        let start = Instant::now();
        let mut all = Vec::new();
        while !is_enough(&all) && start.elapsed() < limit {
            let fds = self.sockets.iter().map(Socket::as_fd);
            let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, PollTimeout::from(100u8)) {
                Err(Errno::EINTR) => continue,
                polled => polled.context("waiting for routes")?,
            };
            let at = Instant::now();
            let ready = fds.iter().map(|fd| fd.any().unwrap_or_default());
            let ready: Vec<bool> = ready.collect();
            for (node, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
                let (bytes, _) = self.sockets[node].recv_from_full()?;
                let read = parts(&bytes).into_iter();
                all.extend(read.map(|(what, to)| Seen { node, what, to, at }));
            }
        }
        Ok(all)
    }
}

/// A socket stays in the namespace of the thread that made it.
fn socket_in(node: &Node) -> Result<Socket> {
    let path = node.namespace();
    let made = std::thread::spawn(move || -> Result<Socket> {
        let namespace = File::open(path)?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_rx_buf_sz(BUFFER)?;
        socket.add_membership(ROUTES)?;
        Ok(socket)
    });
    let made = made.join().ok().context("the thread ended")?;
    made.context("listening to routes")
}

fn parts(bytes: &[u8]) -> Vec<(What, IpAddr)> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while let Ok(header) = NetlinkBuffer::new_checked(rest) {
        let length = header.length() as usize;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
        match message.map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route))) => {
                all.extend(to(&route).map(|to| (What::Added, to)));
            }
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route))) => {
                all.extend(to(&route).map(|to| (What::Removed, to)));
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// Of the overlay's subnets only.
fn to(route: &RouteMessage) -> Option<IpAddr> {
    let is_subnet = route.header.destination_prefix_length == 24;
    route.attributes.iter().find_map(|one| match one {
        RouteAttribute::Destination(RouteAddress::Inet(to)) if is_subnet => Some((*to).into()),
        _ => None,
    })
}
