//! Canonical JSON as TUF signs it: members ordered by their bytes, no spaces, only quote and
//! backslash escaped, whole numbers only.

use serde_json::Value;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("number {0} has a fraction or is too large for canonical JSON")]
pub struct NotCanonical(String);

/// The bytes that signatures and key ids are made over.
pub fn to_canonical(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            out.extend(number.to_string().bytes());
        }
        Value::Number(number) => return Err(NotCanonical(number.to_string())),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                separate(index, out);
                write_string(name, out);
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let value: Value = serde_json::from_str(input).unwrap();
        let canonical = to_canonical(&value).unwrap();
        assert_eq!(String::from_utf8(canonical).unwrap(), expected);
    }

    #[test]
    fn members_are_sorted_by_bytes_and_nothing_is_padded() {
        check(
            r#"{ "b": [1, -2, {}], "a": {"d": null, "c": true} }"#,
            r#"{"a":{"c":true,"d":null},"b":[1,-2,{}]}"#,
        );
        check(r#"{"é":1,"z":2,"A":3}"#, r#"{"A":3,"z":2,"é":1}"#);
    }

    #[test]
    fn only_quote_and_backslash_are_escaped() {
        check(r#""a\"b\\c\nd\u0001""#, "\"a\\\"b\\\\c\nd\u{1}\"");
    }

    #[test]
    fn fractions_have_no_canonical_form() {
        for text in ["1.5", "[1e3]", "18446744073709551616"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(to_canonical(&value).is_err(), "{text}");
        }
    }
}
