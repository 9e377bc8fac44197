//! Metadata as a whole: our own files, files altered in every way, another implementation's files.

mod metadata;
mod oracle;
mod publisher;
