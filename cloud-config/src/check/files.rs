//! `write_files`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::findings::{Findings, Path, shown};
use super::unit_content::check_lines;
use super::view::View;
use crate::config::{Config, Owner, Source, WriteFile, Written};
use crate::document::Node;
use crate::plan::files_of_keys;
use crate::problem::{Level, Rule};
use crate::schema::mode;
use crate::unit_name::UnitName;
use crate::user_data::{MAX_BYTES, unpack};

const DEFAULT_MODE: u32 = 0o644;

pub(super) fn read(root: View<'_>, out: &mut Findings<'_>) -> Vec<WriteFile> {
    let path = Path::Root.key("write_files");
    let mut reader = Reader {
        left: MAX_BYTES,
        lines: HashMap::new(),
    };
    let files = root.views("write_files");
    files
        .filter_map(|(index, view)| reader.read_one(view, &path.index(index), out))
        .collect()
}

struct Reader {
    /// Bytes that packed contents may still expand to, all files together.
    left: usize,
    /// Paths seen, plain, and the line each was given at.
    lines: HashMap<String, Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Written,
    Appended,
}

impl Reader {
    fn read_one(
        &mut self,
        view: View<'_>,
        path: &Path<'_>,
        out: &mut Findings<'_>,
    ) -> Option<WriteFile> {
        let file_path = plain_path(view.text("path")?);
        self.check_repetition(view, &file_path, path, out);
        check_unit(view, &file_path, path, out);
        let written = self.written(view, path, out)?;
        let mode = view
            .text("permissions")
            .and_then(mode)
            .unwrap_or(DEFAULT_MODE);
        check_secret(view, &file_path, &written, mode, path, out);
        Some(WriteFile {
            path: file_path,
            written,
            mode,
            owner: owner(view),
        })
    }

    fn written(
        &mut self,
        view: View<'_>,
        path: &Path<'_>,
        out: &mut Findings<'_>,
    ) -> Option<Written> {
        let append = view.flag("append") == Some(true);
        if let Some(source) = view.map("source") {
            for (key, hint) in [
                ("content", "remove content or source"),
                ("append", "a fetched file replaces what is there"),
                ("encoding", "the file is written as it is fetched"),
            ] {
                let given = view.get(key).filter(|_| key != "append" || append);
                if let Some(node) = given {
                    let message = format!("\"{key}\" and \"source\" exclude each other");
                    out.add(
                        (Level::Error, Rule::InvalidValue),
                        &node.span,
                        &path.key(key),
                        message,
                    )
                    .hint(hint);
                }
            }
            return Some(Written::Source(Source {
                url: source.string("url")?,
                sha256: source.text("sha256")?.to_ascii_lowercase(),
            }));
        }
        let content = match view.get("content") {
            Some(node) => {
                self.decode(node, view.text("encoding").unwrap_or_default(), path, out)?
            }
            None => Vec::new(),
        };
        Some(if append {
            Written::Append(content)
        } else {
            Written::Content(content)
        })
    }

    fn decode(
        &mut self,
        node: &Node<'_>,
        encoding: &str,
        path: &Path<'_>,
        out: &mut Findings<'_>,
    ) -> Option<Vec<u8>> {
        let text = node.text().unwrap_or_default();
        let (packed, armoured) = match encoding {
            "" => return Some(text.as_bytes().to_vec()),
            "base64" | "b64" => (false, true),
            "gz" | "gzip" => (true, false),
            "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => (true, true),
            // Not a known encoding: already said.
            _ => return None,
        };
        let path = path.key("content");
        let mut refuse = |reason: String| {
            let message = format!("content cannot be decoded as \"{encoding}\"");
            out.add(
                (Level::Error, Rule::Undecodable),
                &node.span,
                &path,
                message,
            )
            .hint(reason);
        };
        let bytes = if armoured {
            match decode_base64(text) {
                Ok(bytes) => bytes,
                Err(reason) => {
                    refuse(reason);
                    return None;
                }
            }
        } else {
            text.as_bytes().to_vec()
        };
        if !packed {
            return Some(bytes);
        }
        match unpack(&bytes, self.left) {
            Ok(unpacked) => {
                self.left -= unpacked.len();
                Some(unpacked)
            }
            Err(error) => {
                let hint = match armoured {
                    true => format!("as gzip, {error}"),
                    false => "gzip is no text: add base64, as gz+b64".to_owned(),
                };
                refuse(hint);
                None
            }
        }
    }

    fn check_repetition(
        &mut self,
        view: View<'_>,
        file: &str,
        path: &Path<'_>,
        out: &mut Findings<'_>,
    ) {
        let Some(node) = view.get("path") else { return };
        let append = view.flag("append") == Some(true);
        let seen = if append {
            Seen::Appended
        } else {
            Seen::Written
        };
        let before = self.lines.insert(file.to_owned(), seen);
        let message = match (before, seen) {
            (Some(_), Seen::Written) => format!("the file {} is given twice", shown(file)),
            _ => match self.parent_file(file) {
                Some(parent) => format!(
                    "{} is a file, it cannot hold {}",
                    shown(&parent),
                    shown(file)
                ),
                None => return,
            },
        };
        out.add(
            (Level::Error, Rule::DuplicateEntry),
            &node.span,
            &path.key("path"),
            message,
        )
        .hint("remove one, or give it another path; append: true adds to a file");
    }

    fn parent_file(&self, file: &str) -> Option<String> {
        let mut ends = file.match_indices('/').map(|(at, _)| &file[..at]);
        ends.rfind(|parent| self.lines.contains_key(*parent))
            .map(str::to_owned)
    }
}

/// A file that another key makes as well is the user's own, which he may not have meant.
pub(super) fn check_clashes(root: View<'_>, config: &Config, out: &mut Findings<'_>) {
    let made = files_of_keys(config);
    let made: HashMap<&str, &str> = made
        .iter()
        .map(|file| (file.path.as_str(), file.origin))
        .collect();
    let list = Path::Root.key("write_files");
    for (index, view) in root.views("write_files") {
        let Some(node) = view.get("path") else {
            continue;
        };
        let file = plain_path(node.text().unwrap_or_default());
        if view.flag("append") == Some(true) {
            continue;
        }
        if let Some(other) = made.get(&*file) {
            let message = format!("{} replaces what {} says", shown(&file), other);
            let path = list.index(index);
            out.add(
                (Level::Warning, Rule::NoEffect),
                &node.span,
                &path.key("path"),
                message,
            )
            .hint("remove one of the two");
        }
    }
}

/// One slash between the steps, no `.` among them, so that equal paths look equal.
fn plain_path(path: &str) -> String {
    let steps = path
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".");
    steps.fold(String::with_capacity(path.len()), |plain, step| {
        plain + "/" + step
    })
}

fn owner(view: View<'_>) -> Owner {
    let Some(text) = view.text("owner") else {
        return Owner::default();
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let group = if group.is_empty() { user } else { group };
    Owner {
        user: user.to_owned(),
        group: group.to_owned(),
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let packed: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD
        .decode(&packed)
        .map_err(|error| format!("as base64, {}", plain_error(&error)))
}

fn plain_error(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(at, byte) => {
            format!(
                "character {} is {:?}, which does not belong there",
                at + 1,
                char::from(*byte)
            )
        }
        base64::DecodeError::InvalidLength(_) => "its length is no multiple of four".to_owned(),
        _ => "its end is not padded with = as it should be".to_owned(),
    }
}

/// Names that hold keys and passwords wherever they occur.
const SECRET_ENDS: &[&str] = &[
    "/id_rsa",
    "/id_ecdsa",
    "/id_ed25519",
    ".key",
    "-key.pem",
    "_key.pem",
    ".keytab",
    "/.netrc",
    "/.pgpass",
    "/.dockercfg",
    "/.docker/config.json",
    "/.aws/credentials",
    "/.kube/config",
    ".htpasswd",
    "/shadow",
    "/gshadow",
    "_key",
];

fn check_secret(
    view: View<'_>,
    file: &str,
    written: &Written,
    mode: u32,
    path: &Path<'_>,
    out: &mut Findings<'_>,
) {
    if mode & 0o004 == 0 {
        return;
    }
    let named = SECRET_ENDS.iter().any(|end| file.ends_with(end));
    let holds = match written {
        Written::Content(bytes) | Written::Append(bytes) => holds_private_key(bytes),
        Written::Source(_) => false,
    };
    if !(named || holds) {
        return;
    }
    let node = view.get("permissions").or_else(|| view.get("path"));
    let Some(node) = node else { return };
    let message = format!(
        "{} looks like a secret, and every user can read it",
        shown(file)
    );
    out.add(
        (Level::Warning, Rule::WorldReadableSecret),
        &node.span,
        path,
        message,
    )
    .hint("set permissions: \"0600\"");
}

fn holds_private_key(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----")
}

/// A unit file written as a plain file is read by systemd all the same.
fn check_unit(view: View<'_>, file: &str, path: &Path<'_>, out: &mut Findings<'_>) {
    let directories = [
        "/etc/systemd/system/",
        "/run/systemd/system/",
        "/etc/systemd/network/",
    ];
    let name = directories
        .iter()
        .find_map(|directory| file.strip_prefix(directory));
    let Some(name) = name.and_then(|name| UnitName::parse(name).ok()) else {
        return;
    };
    if let Some(node) = view
        .get("content")
        .filter(|_| view.text("encoding").is_none())
    {
        check_lines(&name, node, &path.key("content"), out);
    }
}
