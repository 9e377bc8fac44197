//! Words as systemd's command lines have them: apart by blanks, kept together by quotes.

/// What becomes of a dollar sign when systemd reads the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dollar {
    /// It stands for itself.
    Plain,
    /// `$NAME` and `${NAME}` are replaced, as in a command line.
    Variable,
}

/// The words of a value, or what is wrong with it.
pub(super) fn split(value: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escaped(&mut chars)?),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is left open");
    }
    words.extend(word);
    Ok(words)
}

fn escaped(chars: &mut std::str::Chars) -> Result<char, &'static str> {
    const NONE: &str = "a backslash is followed by none of abfnrtvs\\\"';xuU01234567";
    // Two or three digits are a byte to systemd: above ASCII that is half a character.
    let code = |chars: &mut std::str::Chars, digits: usize, base: u32, first: u32| {
        let more = (0..digits).try_fold(first, |sum, _| {
            Some(sum * base + chars.next()?.to_digit(base)?)
        });
        let found = more.and_then(char::from_u32);
        let found = found.filter(|c| *c != '\0' && (digits > 2 || c.is_ascii()));
        found.ok_or("an escape is no character")
    };
    Ok(match chars.next().ok_or(NONE)? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        's' => ' ',
        c @ ('\\' | '"' | '\'' | ';') => c,
        'x' => code(chars, 2, 16, 0)?,
        'u' => code(chars, 4, 16, 0)?,
        'U' => code(chars, 8, 16, 0)?,
        c @ '0'..='7' => code(chars, 2, 8, c as u32 - '0' as u32)?,
        _ => return Err(NONE),
    })
}

/// The word so that systemd reads this very word. Its specifiers (`%i`) stay what they are.
pub(super) fn quoted(word: &str, dollar: Dollar) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    let mut result = String::from('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            '$' if dollar == Dollar::Plain => result.push_str("$$"),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            // Beyond ASCII a control character takes more than the two digits that \x has.
            c if c.is_control() => result.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => result.push(c),
        }
    }
    result + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_taken_apart_as_systemd_does() {
        let cases: [(&str, Result<&[&str], &str>); 10] = [
            ("a b\tc ", Ok(&["a", "b", "c"])),
            (r#"a"b c"d 'e "f"'"#, Ok(&["ab cd", "e \"f\""])),
            (r#"'' """#, Ok(&["", ""])),
            (r"a\x20b \u00e9\101 \n\s\;", Ok(&["a b", "éA", "\n ;"])),
            ("", Ok(&[])),
            ("'a", Err("a quote is left open")),
            (
                r"a\q",
                Err("a backslash is followed by none of abfnrtvs\\\"';xuU01234567"),
            ),
            (r"\x4", Err("an escape is no character")),
            (r"\000", Err("an escape is no character")),
            (r"\xe9", Err("an escape is no character")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|words| words.iter().map(ToString::to_string).collect());
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_is_quoted_where_systemd_would_read_another() {
        let cases = [
            ("A=b", Dollar::Plain, "A=b"),
            ("", Dollar::Plain, "\"\""),
            ("a b%i", Dollar::Plain, "\"a b%i\""),
            ("$A", Dollar::Plain, "\"$$A\""),
            ("${A}", Dollar::Variable, "\"${A}\""),
            (";", Dollar::Variable, "\";\""),
            ("a\"\\\n\u{1}", Dollar::Plain, r#""a\"\\\n\u0001""#),
        ];
        for (word, dollar, expected) in cases {
            assert_eq!(quoted(word, dollar), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_read_back(word in "[a-z \"'\\\\;%\n\t\u{1}é]{0,12}") {
            prop_assert_eq!(split(&quoted(&word, Dollar::Plain)), Ok(vec![word]));
        }
    }
}
