//! A text that comes in parts, from a program or from another machine, and goes on as the body of
//! an answer.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::mpsc;

/// Parts that wait for a slow reader; the writer waits then too.
const WAITING: usize = 16;
const PART: usize = 16 << 10;

pub type Part = io::Result<Bytes>;

#[derive(Debug)]
pub struct Stream {
    parts: mpsc::Receiver<Part>,
}

impl Stream {
    pub(crate) fn channel() -> (mpsc::Sender<Part>, Stream) {
        let (sender, parts) = mpsc::channel(WAITING);
        (sender, Stream { parts })
    }

    /// What the program prints. It is ended when nobody reads any more, or when `enough` is; `kept`
    /// is dropped then.
    pub(super) fn of(
        mut command: Command,
        enough: impl Future<Output = ()> + Send + 'static,
        kept: impl Send + 'static,
    ) -> io::Result<Stream> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (mut output, mut errors) = match (child.stdout.take(), child.stderr.take()) {
            (Some(output), Some(errors)) => (output, errors),
            _ => return Err(io::Error::other("the program has no output")),
        };
        let (sender, stream) = Stream::channel();
        tokio::spawn(async move {
            let _kept = kept;
            let copying = async {
                let mut buffer = vec![0; PART];
                loop {
                    let part = match output.read(&mut buffer).await {
                        Ok(0) => break,
                        Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                        Err(error) => Err(error),
                    };
                    if sender.send(part).await.is_err() {
                        return;
                    }
                }
                let mut said = Vec::new();
                let _ = (&mut errors).take(PART as u64).read_to_end(&mut said).await;
                let failure = match child.wait().await {
                    Ok(status) if status.success() => return,
                    Ok(_) => io::Error::other(String::from_utf8_lossy(&said).trim().to_string()),
                    Err(error) => error,
                };
                let _ = sender.send(Err(failure)).await;
            };
            tokio::select! {
                () = copying => {}
                () = sender.closed() => {}
                () = enough => {}
            }
        });
        Ok(stream)
    }

    /// None: it has ended well.
    pub async fn next(&mut self) -> Option<Part> {
        self.parts.recv().await
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = self.parts.poll_recv(cx);
        part.map(|part| part.map(|part| part.map(Frame::data)))
    }
}
