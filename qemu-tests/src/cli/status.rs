//! `cargo lab status`.

use anyhow::Result;
use strake_qemu_tests::lab::{Lab, MachineState};
use strake_qemu_tests::tools::Tools;

use super::{Exit, Output};

const HEADINGS: [&str; 6] = ["machine", "power", "ssh port", "release", "entry", "health"];

pub(super) fn run(lab: &Lab, tools: &Tools, output: Output) -> Result<Exit> {
    let states: Vec<MachineState> = lab
        .machines()
        .iter()
        .map(|(number, record)| lab.state(*number, record, tools))
        .collect();
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&states)?),
        Output::Yaml => print!("{}", serde_yaml::to_string(&states)?),
        Output::Table if states.is_empty() => println!("no machines; `cargo lab up` makes some"),
        Output::Table => {
            let rows: Vec<[String; 6]> = states.iter().map(row).collect();
            print!("{}", table(&HEADINGS, &rows));
        }
    }
    Ok(if states.is_empty() {
        Exit::NothingToDo
    } else {
        Exit::Done
    })
}

fn row(state: &MachineState) -> [String; 6] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        state.name.clone(),
        state.power.clone(),
        state.ssh_port.to_string(),
        or_dash(&state.release),
        or_dash(&state.entry),
        or_dash(&state.health),
    ]
}

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(headings: &[&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(headings.to_vec()))
        .chain(body)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["node1", "running"], ["node12", "off"]].map(|row| row.map(str::to_owned));
        let expected = "machine  power\nnode1    running\nnode12   off\n";
        assert_eq!(table(&["machine", "power"], &rows), expected);
    }
}
