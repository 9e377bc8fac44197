//! Values in the files that systemd and the shell read.

/// One word of a unit file, in double quotes: quote, backslash and `%` keep their meaning.
pub(super) fn unit_word(value: &str) -> String {
    let mut word = String::with_capacity(value.len() + 2);
    word.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            '\r' => word.push_str("\\r"),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

/// A whole value of a unit file that is not split into words.
pub(super) fn unit_value(value: &str) -> String {
    value.replace('%', "%%")
}

/// The value of a line `K=V` in an environment file; quoted only where it must be.
pub(super) fn environment_file_value(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '`' | '$');
    let inner_blanks = value.chars().all(|c| plain(c) || c == ' ') && value.trim() == value;
    if inner_blanks && !value.starts_with(['#', ';']) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

pub(super) fn shell_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// As Go's `%q`, which os-release readers take: a double-quoted text.
pub(super) fn os_release_value(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_words_keep_quotes_backslashes_percent_and_line_feeds() {
        assert_eq!(unit_word(r#"A=x "y" \z 50%"#), r#""A=x \"y\" \\z 50%%""#);
        assert_eq!(unit_word("a\nb\tc"), r#""a\nb\tc""#);
    }

    #[test]
    fn environment_values_are_quoted_only_where_they_must_be() {
        for (value, expected) in [
            ("a=b,c=d", "a=b,c=d"),
            ("two words", "two words"),
            (" x", "\" x\""),
            (r#"a"b"#, r#""a\"b""#),
            ("$x", r#""\$x""#),
            ("#x", "\"#x\""),
        ] {
            assert_eq!(environment_file_value(value), expected);
        }
    }

    #[test]
    fn shell_words_survive_quotes() {
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
