//! What the server sends back: a part of a file, read as it is sent, or a few bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

const PIECE: u64 = 128 << 10;

#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    Bytes(Bytes),
    /// Of the file, from `at` to `end`.
    Part {
        file: File,
        at: u64,
        end: u64,
    },
}

pub(super) fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Nothing);
    *response.status_mut() = status;
    response
}

/// One line of plain text for whoever reads the client's log.
pub(super) fn text(status: StatusCode, line: &str) -> Response<Answer> {
    page(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

pub(super) fn page(status: StatusCode, kind: &str, body: String) -> Response<Answer> {
    let mut response = Response::new(Answer::Bytes(body.into()));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, kind);
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

pub(super) fn set(response: &mut Response<Answer>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match &mut *self {
            Answer::Part { file, at, end } if *at < *end => {
                let mut piece = vec![0; PIECE.min(*end - *at) as usize];
                let read = file.read_exact_at(&mut piece, *at);
                *at += piece.len() as u64;
                Some(read.map(|()| Frame::data(piece.into())))
            }
            Answer::Bytes(bytes) if !bytes.is_empty() => {
                Some(Ok(Frame::data(std::mem::take(bytes))))
            }
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Answer::Nothing => 0,
            Answer::Bytes(bytes) => bytes.len() as u64,
            Answer::Part { at, end, .. } => end.saturating_sub(*at),
        })
    }
}
