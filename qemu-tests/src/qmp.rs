//! QEMU's machine protocol: one JSON object a line, over the monitor's unix socket.
//!
//! QEMU serves one client at a time, so a connection is short-lived except in tests.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Commands that copy memory (savevm) take long under emulation.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    #[error("talking to QEMU's monitor")]
    Io(#[source] io::Error),
    #[error("QEMU closed its monitor")]
    Closed,
    #[error("QEMU's monitor sent {line:?}")]
    Malformed { line: String },
    #[error("QEMU refused {command}: {reason}")]
    Refused { command: String, reason: String },
}

/// An event's name and data, for example `RESET` with `{"guest": true}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    /// What has come of a line whose end has not come yet.
    partial: Vec<u8>,
    events: VecDeque<Event>,
}

impl Qmp {
    pub fn connect(socket: &Path) -> Result<Self, QmpError> {
        Self::over(UnixStream::connect(socket).map_err(QmpError::Io)?)
    }

    fn over(stream: UnixStream) -> Result<Self, QmpError> {
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .map_err(QmpError::Io)?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
            partial: Vec::new(),
            events: VecDeque::new(),
        };
        let greeting = qmp.next_message()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Malformed {
                line: greeting.to_string(),
            });
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let request = json!({"execute": command, "arguments": arguments});
        writeln!(self.reader.get_mut(), "{request}").map_err(QmpError::Io)?;
        loop {
            let Value::Object(mut message) = self.next_message()? else {
                continue;
            };
            if let Some(result) = message.remove("return") {
                return Ok(result);
            }
            if let Some(error) = message.get("error") {
                let reason = error["desc"]
                    .as_str()
                    .unwrap_or("no reason given")
                    .to_owned();
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason,
                });
            }
            self.keep_event(message);
        }
    }

    /// A command of the human monitor. It answers in text, failures included.
    pub fn human(&mut self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().trim().to_owned())
    }

    /// A command of the human monitor that says nothing when all is well.
    pub fn human_silent(&mut self, line: &str) -> Result<(), QmpError> {
        match self.human(line)? {
            answer if answer.is_empty() => Ok(()),
            reason => Err(QmpError::Refused {
                command: line.to_owned(),
                reason,
            }),
        }
    }

    /// The events that have come, without waiting for more.
    pub fn take_events(&mut self) -> Result<Vec<Event>, QmpError> {
        self.reader
            .get_ref()
            .set_nonblocking(true)
            .map_err(QmpError::Io)?;
        let read = loop {
            match self.next_message() {
                Ok(Value::Object(message)) => self.keep_event(message),
                Ok(_) => {}
                Err(QmpError::Io(error)) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.reader
            .get_ref()
            .set_nonblocking(false)
            .map_err(QmpError::Io)?;
        read.map(|()| self.events.drain(..).collect())
    }

    fn keep_event(&mut self, mut message: Map<String, Value>) {
        if let Some(Value::String(name)) = message.remove("event") {
            let data = message.remove("data").unwrap_or(Value::Null);
            self.events.push_back(Event { name, data });
        }
    }

    fn next_message(&mut self) -> Result<Value, QmpError> {
        // An interrupted read keeps what it got in `partial` for the next call.
        match self.reader.read_until(b'\n', &mut self.partial) {
            Ok(_) if self.partial.last() == Some(&b'\n') => {}
            Ok(_) => return Err(QmpError::Closed),
            // What a QEMU that ends with a question unread leaves behind.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Err(QmpError::Closed);
            }
            Err(error) => return Err(QmpError::Io(error)),
        }
        let line = std::mem::take(&mut self.partial);
        serde_json::from_slice(&line).map_err(|_| QmpError::Malformed {
            line: String::from_utf8_lossy(&line).into(),
        })
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n{\"return\":{}}\n";

    fn connected() -> (Qmp, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(GREETING.as_bytes()).unwrap();
        (Qmp::over(ours).unwrap(), theirs)
    }

    #[test]
    fn events_between_question_and_answer_are_kept() {
        let (mut qmp, mut qemu) = connected();
        qemu.write_all(
            b"{\"event\":\"RESET\",\"data\":{\"guest\":true}}\n{\"return\":{\"a\":1}}\n",
        )
        .unwrap();
        assert_eq!(
            qmp.execute("query-status", json!({})).unwrap(),
            json!({"a": 1})
        );
        let events = qmp.take_events().unwrap();
        assert_eq!(
            events,
            [Event {
                name: "RESET".into(),
                data: json!({"guest": true})
            }]
        );
    }

    #[test]
    fn an_event_may_come_in_two_pieces() {
        let (mut qmp, mut qemu) = connected();
        qemu.write_all(b"{\"event\":\"RES").unwrap();
        assert_eq!(qmp.take_events().unwrap(), []);
        qemu.write_all(b"ET\"}\n").unwrap();
        assert_eq!(qmp.take_events().unwrap()[0].name, "RESET");
    }

    #[test]
    fn a_refusal_carries_the_reason() {
        let (mut qmp, mut qemu) = connected();
        qemu.write_all(b"{\"error\":{\"class\":\"GenericError\",\"desc\":\"no disk\"}}\n")
            .unwrap();
        let error = qmp.execute("blockdev-add", json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused blockdev-add: no disk");
    }

    #[test]
    fn a_monitor_that_closes_is_told_apart_from_silence() {
        let (mut qmp, qemu) = connected();
        assert_eq!(qmp.take_events().unwrap(), []);
        drop(qemu);
        assert!(matches!(qmp.take_events(), Err(QmpError::Closed)));
    }
}
