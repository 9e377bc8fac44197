//! A repository in a directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::{Failure, FetchError, Request, Sink, Transport, is_plain};

const PIECE: u64 = 256 << 10;

/// Files below a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    base: PathBuf,
}

impl Directory {
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    fn read(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), Failure> {
        if !is_plain(&request.path) {
            return Err(Failure::Path);
        }
        let file =
            File::open(self.base.join(&request.path)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::NotFound,
                _ => Failure::Read(error),
            })?;
        let length = file.metadata().map_err(Failure::Read)?.len();
        let range = request.range.clone().unwrap_or(0..length);
        if range.end.saturating_sub(range.start) > request.limit {
            return Err(Failure::TooLong {
                limit: request.limit,
            });
        }
        if range.end > length {
            let found = length.saturating_sub(range.start);
            return Err(Failure::Short {
                found,
                expected: range.end - range.start,
            });
        }
        let mut at = range.start;
        while at < range.end {
            let mut piece = vec![0; PIECE.min(range.end - at) as usize];
            file.read_exact_at(&mut piece, at).map_err(Failure::Read)?;
            sink(&piece).map_err(Failure::Sink)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}

impl Transport for Directory {
    async fn fetch(&self, request: &Request, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        self.read(request, sink).map_err(|failure| FetchError {
            url: self.base.join(&request.path).display().to_string(),
            failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes;
    use super::*;

    #[tokio::test]
    async fn files_are_read_whole_or_in_part_and_never_beyond_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"0123456789").unwrap();
        let directory = Directory::new(dir.path());
        let read = async |request: Request| bytes(&directory, &request).await;
        assert_eq!(read(Request::whole("f", 10)).await.unwrap(), b"0123456789");
        assert_eq!(read(Request::part("f", 2..5)).await.unwrap(), b"234");
        let failure = async |request| read(request).await.unwrap_err().failure;
        assert!(matches!(
            failure(Request::whole("f", 9)).await,
            Failure::TooLong { limit: 9 }
        ));
        let short = failure(Request::part("f", 8..12)).await;
        assert!(matches!(
            short,
            Failure::Short {
                found: 2,
                expected: 4
            }
        ));
        assert!(matches!(
            failure(Request::whole("g", 9)).await,
            Failure::NotFound
        ));
        assert!(matches!(
            failure(Request::whole("../f", 9)).await,
            Failure::Path
        ));
    }
}
