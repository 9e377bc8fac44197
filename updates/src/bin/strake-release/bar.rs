//! Progress on a terminal; nothing anywhere else.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over a number of bytes.
pub(crate) fn bytes(total: u64, what: impl Into<String>) -> ProgressBar {
    let style = "{msg:40!} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(style).expect("the template is constant");
    ProgressBar::new(total)
        .with_style(style)
        .with_message(what.into())
}
