//! Writing HTML: what is in the program's own text goes in as it is, everything else as text.

use std::fmt::{self, Display, Write as _};

#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Tags and words of the program's own.
    pub(super) fn raw(&mut self, own: &'static str) -> &mut Html {
        self.0.push_str(own);
        self
    }

    /// Anything else, also as the value of an attribute between quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Html {
        // Writing to a string cannot fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    pub(super) fn add(&mut self, other: Html) -> &mut Html {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Shown as a sign that something is there; the HTML of a page may not hold them.
                c if c.is_control() && c != '\n' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        let mut html = Html::default();
        html.raw("<b title=\"")
            .text("a\"'")
            .raw("\">")
            .text("<i>&\0")
            .raw("</b>");
        let expected = "<b title=\"a&quot;&#39;\">&lt;i&gt;&amp;\u{fffd}</b>";
        assert_eq!(html.finish(), expected);
    }
}
