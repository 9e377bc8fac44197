//! Problems for people and programs: coreos-cloudinit's lines, a rendering with the line itself,
//! JSON and SARIF. Pure text in, text out; whoever prints decides on colour.

mod human;
mod sarif;

use std::fmt::Write;

use crate::problem::Problem;

pub use human::{Style, human};
pub use sarif::sarif;

/// One line for each problem, as `coreos-cloudinit -validate` printed them.
pub fn coreos(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "line {}: {}: {}",
            problem.line, problem.level, problem.message
        );
    }
    text
}

/// A JSON array of problems with all their fields.
pub fn json(problems: &[Problem]) -> String {
    // Plain strings and numbers always serialize.
    serde_json::to_string_pretty(problems).unwrap_or_else(|_| "[]".to_owned()) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Level, Rule, Snippet};

    fn problem() -> Problem {
        Problem {
            line: 3,
            column: 5,
            length: 4,
            key: "users[0].nmae".into(),
            snippet: Some(Snippet {
                text: "  - nmae: x".into(),
                first_column: 1,
            }),
            ..Problem::whole(
                Level::Warning,
                Rule::UnknownKey,
                "unrecognized key \"nmae\"",
            )
            .with_hint("did you mean name?")
        }
    }

    #[test]
    fn lines_are_those_of_coreos_cloudinit() {
        assert_eq!(
            coreos(&[problem()]),
            "line 3: warning: unrecognized key \"nmae\"\n"
        );
    }

    #[test]
    fn people_see_the_line_a_caret_and_the_hint() {
        assert_eq!(
            human(&[problem()], "user_data", Style::Plain),
            "warning: unrecognized key \"nmae\"\n \
             --> user_data:3:5  users[0].nmae\n  |\n\
             3 |   - nmae: x\n  |     ^^^^ did you mean name?\n\n\
             0 errors, 1 warning\n"
        );
        assert!(human(&[problem()], "x", Style::Ansi).contains("\u{1b}[33m"));
        assert_eq!(human(&[], "x", Style::Plain), "");
    }

    #[test]
    fn sarif_names_the_rule_and_the_place() {
        let text = sarif(&[problem()], "a b.yaml");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["version"], "2.1.0");
        let result = &value["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "unknown-key");
        let rules = &value["runs"][0]["tool"]["driver"]["rules"];
        let index = result["ruleIndex"].as_u64().expect("an index");
        assert_eq!(
            rules[usize::try_from(index).expect("small")]["id"],
            "unknown-key"
        );
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "a%20b.yaml");
        assert_eq!(location["region"]["startColumn"], 5);
        assert_eq!(location["region"]["endColumn"], 9);
    }

    #[test]
    fn json_holds_every_field() {
        let value: serde_json::Value = serde_json::from_str(&json(&[problem()])).expect("JSON");
        assert_eq!(value[0]["rule"], "unknown-key");
        assert_eq!(value[0]["snippet"]["text"], "  - nmae: x");
    }
}
