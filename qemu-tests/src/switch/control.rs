//! Changing the rules of a running switch: one JSON request a line, one answer a line.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::{Fault, Groups, Port};

const ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    Partition(Groups),
    Fault { from: Port, to: Port, fault: Fault },
    Heal,
    Capture(PathBuf),
    State,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    State {
        connected: Vec<Port>,
        partition: Option<String>,
        frames: u64,
    },
    Refused(String),
}

#[derive(Debug)]
pub struct Control {
    reader: BufReader<UnixStream>,
}

impl Control {
    pub fn connect(directory: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket(directory))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// The switch's state after the request was carried out.
    pub fn send(&mut self, request: &Request) -> io::Result<Answer> {
        let line = serde_json::to_string(request)?;
        writeln!(self.reader.get_mut(), "{line}")?;
        let mut answer = String::new();
        self.reader.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("switch")
}
