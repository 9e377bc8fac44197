//! A publisher, its server and a machine that follows it.

use super::{Made, Node, Publisher, Server, made};

pub(crate) struct Bench {
    pub(crate) publisher: Publisher,
    pub(crate) server: Server,
    pub(crate) node: Node,
    pub(crate) old: Made,
    pub(crate) new: Made,
}

/// A machine that runs 1.0.0, and a channel that offers 1.1.0.
pub(crate) fn bench() -> Bench {
    let publisher = Publisher::new();
    let (old, new) = (made(1), made(2));
    publisher.publish("1.0.0", &old, "");
    publisher.publish("1.1.0", &new, "");
    let server = publisher.serve();
    let node = Node::new("1.0.0", &old, &publisher, &server.url);
    Bench {
        publisher,
        server,
        node,
        old,
        new,
    }
}

impl Bench {
    /// 1.1.0 is installed, booted and blessed.
    pub(crate) fn updated() -> Bench {
        let bench = bench();
        bench.node.code("install", 0);
        bench.node.boots("1.1.0", "B", &bench.new);
        bench
            .node
            .rename_entry("strake_1.1.0+3.efi", "strake_1.1.0.efi");
        bench
    }
}
