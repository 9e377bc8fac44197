//! A way to the store that can be cut, or lets nothing through for a while.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// What is sent stays on the way.
    Stuck,
    /// Connections are broken, and none is taken.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Proxy {
    pub(crate) async fn start(to: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (to, seen) = (to.clone(), seen.clone());
                tokio::spawn(async move {
                    if *seen.borrow() != Way::Cut
                        && let Ok(server) = TcpStream::connect(&to).await
                    {
                        let (from_client, to_client) = stream.into_split();
                        let (from_server, to_server) = server.into_split();
                        tokio::select! {
                            () = copy(from_client, to_server, seen.clone()) => {}
                            () = copy(from_server, to_client, seen) => {}
                        }
                    }
                });
            }
        });
        Proxy { address, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut seen: watch::Receiver<Way>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = seen.wait_for(|way| *way == Way::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        match seen.wait_for(|way| *way != Way::Stuck).await {
            Ok(way) if *way == Way::Open => {}
            _ => return,
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
