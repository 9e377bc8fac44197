//! One thing that is wrong, or doubtful, in what a user wrote.
//!
//! A problem carries its place and the line itself, so that every rendering (`report`) needs
//! nothing else. Bad input is never an error type: it is a list of these.

use std::fmt;

use serde::Serialize;

/// How bad a problem is. One error stops the whole config; warnings and infos do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    Warning,
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What kind of rule a problem breaks: the stable identity used by JSON and SARIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    Kind,
    Limit,
    Encoding,
    Syntax,
    DuplicateKey,
    UnknownKey,
    DeprecatedKey,
    MisplacedKey,
    MissingKey,
    WrongType,
    EmptyValue,
    InvalidValue,
    Undecodable,
    ReadOnlyPath,
    RelativePath,
    DuplicateEntry,
    UnitFile,
    WorldReadableSecret,
    Variable,
    NoEffect,
}

impl Rule {
    pub const ALL: &'static [Self] = &[
        Self::Kind,
        Self::Limit,
        Self::Encoding,
        Self::Syntax,
        Self::DuplicateKey,
        Self::UnknownKey,
        Self::DeprecatedKey,
        Self::MisplacedKey,
        Self::MissingKey,
        Self::WrongType,
        Self::EmptyValue,
        Self::InvalidValue,
        Self::Undecodable,
        Self::ReadOnlyPath,
        Self::RelativePath,
        Self::DuplicateEntry,
        Self::UnitFile,
        Self::WorldReadableSecret,
        Self::Variable,
        Self::NoEffect,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Limit => "limit",
            Self::Encoding => "encoding",
            Self::Syntax => "syntax",
            Self::DuplicateKey => "duplicate-key",
            Self::UnknownKey => "unknown-key",
            Self::DeprecatedKey => "deprecated-key",
            Self::MisplacedKey => "misplaced-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::EmptyValue => "empty-value",
            Self::InvalidValue => "invalid-value",
            Self::Undecodable => "undecodable",
            Self::ReadOnlyPath => "read-only-path",
            Self::RelativePath => "relative-path",
            Self::DuplicateEntry => "duplicate-entry",
            Self::UnitFile => "unit-file",
            Self::WorldReadableSecret => "world-readable-secret",
            Self::Variable => "variable",
            Self::NoEffect => "no-effect",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Kind => "The user-data is of no kind that can be applied",
            Self::Limit => "A limit on size, depth or number was reached",
            Self::Encoding => "The text is not valid UTF-8 or holds forbidden characters",
            Self::Syntax => "The text is not well-formed YAML",
            Self::DuplicateKey => "A key appears twice in one mapping",
            Self::UnknownKey => "A key is not known here and is ignored",
            Self::DeprecatedKey => "A key still works but has a successor",
            Self::MisplacedKey => "A known key stands in the wrong place",
            Self::MissingKey => "A required key is missing",
            Self::WrongType => "A value has another type than its key takes",
            Self::EmptyValue => "A key has no value and is ignored",
            Self::InvalidValue => "A value is outside what its key allows",
            Self::Undecodable => "Encoded content cannot be decoded",
            Self::ReadOnlyPath => "A file would be written to the read-only file system",
            Self::RelativePath => "A path is not absolute and plain",
            Self::DuplicateEntry => "Two entries claim the same name or path",
            Self::UnitFile => "systemd would refuse or ignore a part of a unit file",
            Self::WorldReadableSecret => "A file with a secret can be read by every user",
            Self::Variable => "An address variable is misspelt or has no value",
            Self::NoEffect => "A setting has no effect as written",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The part of a source line shown below a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snippet {
    pub text: String,
    /// Column of the first character of `text`; more than 1 when a long line is cut.
    pub first_column: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub level: Level,
    pub rule: Rule,
    /// Counted from 1, in the text the user wrote (before substitution).
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// How many characters from `column` on belong to the problem; at least 1.
    pub length: u32,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the document, such as `coreos.units[2].name`; empty for the document itself.
    pub key: String,
    /// Part of a multipart document, counted from 1. Lines of a part sent encoded are counted
    /// inside that part, all others in the whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Snippet>,
}

impl Problem {
    /// A problem at the very start of the text, for what concerns it as a whole.
    pub fn whole(level: Level, rule: Rule, message: impl Into<String>) -> Self {
        Self {
            level,
            rule,
            line: 1,
            column: 1,
            length: 1,
            message: message.into(),
            hint: None,
            key: String::new(),
            part: None,
            snippet: None,
        }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

/// `line 3, column 5: error: ...`, one line, for logs.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}: {}",
            self.line, self.column, self.level, self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
