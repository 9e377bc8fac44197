//! `docs/publishing.md` names only what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::workshop::Workshop;

#[test]
fn every_command_and_option_of_the_page_exists_and_every_command_is_on_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/publishing.md");
    let page = fs::read_to_string(path).unwrap();
    let workshop = Workshop::empty();
    let help = workshop.ok("--help");
    let commands: BTreeSet<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in &commands {
        assert!(
            page.contains(&format!("| `{command}")),
            "{command} is not on the page"
        );
    }
    let mut shown = 0;
    for line in page
        .lines()
        .filter_map(|line| line.strip_prefix("$ strake-release "))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = words.iter().find(|word| commands.contains(*word));
        let command = command.unwrap_or_else(|| panic!("{line}: no such command"));
        let help = workshop.ok(&format!("{command} --help"));
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(*option), "{line}: {option} is no option");
        }
        shown += 1;
    }
    assert!(shown > 6);
    // Options and defaults of the table of `serve`.
    let help = workshop.ok("serve --help");
    for line in page.lines().filter(|line| line.starts_with("| `--")) {
        let option = line
            .trim_start_matches("| `")
            .split(['`', ' '])
            .next()
            .unwrap();
        assert!(help.contains(option), "{option} is no option of serve");
        let cell = line.split('|').nth(2).unwrap().trim();
        let default = cell.split_whitespace().next().unwrap_or_default();
        if default.parse::<u32>().is_ok() {
            let said = help.split(option).nth(1).unwrap();
            let said = said.split("[default: ").nth(1).unwrap();
            assert!(
                said.starts_with(&format!("{default}]")),
                "{option}: {default}"
            );
        }
    }
}
