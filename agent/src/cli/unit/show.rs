//! What has become of units: tables with fleet's columns.

use anyhow::{Result, bail};
use serde::Serialize;
use time::UtcDateTime;

use super::find;
use crate::cli::output::{Output, columns, print};
use crate::exit::Exit;
use crate::scheduler::clock;
use crate::scheduler::container;
use crate::scheduler::explain;
use crate::scheduler::keys::{Ended, State};
use crate::scheduler::machine::MachineId;
use crate::scheduler::model::Model;
use crate::scheduler::name::UnitName;
use crate::scheduler::orders;
use crate::scheduler::part;
use crate::scheduler::plan::Verdict;
use crate::scheduler::standing::{Places, standing};
use crate::scheduler::turn::Turn;
use crate::store::etcd::Etcd;
use crate::systemd::Active;

/// `01234567.../10.0.0.1`
pub(in crate::cli) fn machine(model: &Model, id: &MachineId) -> String {
    let address = model.machine(id).map(|machine| machine.address.as_str());
    match address {
        Some(address) if !address.is_empty() => format!("{}.../{address}", id.short()),
        _ => format!("{}...", id.short()),
    }
}

pub(super) async fn cat(store: &Etcd, word: &str, service: bool) -> Result<Exit> {
    let unit = find::known(word)?;
    let mut text = orders::text(store, &unit).await?;
    if service && unit.is_container() {
        let service = container::service(&unit, &text);
        text = service.map_err(|problems| orders::Error::Wrong { unit, problems })?;
    }
    print(&text.to_string());
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Row {
    unit: UnitName,
    machine: Option<String>,
    hash: String,
    load: String,
    active: Active,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// Units that end, when they have: as they were on the machine that they have left.
fn ended(model: &Model, name: &UnitName) -> Option<Row> {
    let done = model.finished(name)?;
    let (active, sub) = match done.ended.is_well() {
        true => (Active::Inactive, "ended"),
        false => (Active::Failed, "failed"),
    };
    Some(Row {
        unit: name.clone(),
        machine: Some(machine(model, &done.machine)),
        hash: done.digest.short().to_string(),
        load: "not-found".to_string(),
        active,
        sub: sub.to_string(),
        problem: None,
        ended: Some(done.ended.clone()),
    })
}

fn rows(model: &Model, places: &Places, name: &UnitName) -> Vec<Row> {
    let found = places.seen(name).iter();
    let mut rows: Vec<Row> = found
        .filter(|(id, _)| model.machine(id).is_some())
        .map(|(id, seen)| Row {
            unit: name.clone(),
            machine: Some(machine(model, id)),
            hash: seen.digest.short().to_string(),
            load: seen.load.clone(),
            active: seen.active,
            sub: seen.sub.clone(),
            problem: seen.problem.clone(),
            ended: None,
        })
        .collect();
    if rows.is_empty() {
        rows.extend(ended(model, name));
    }
    rows
}

pub(super) async fn units(store: &Etcd, output: Output) -> Result<Exit> {
    let model = part::seen(store).await?;
    let places = Places::of(&model);
    let rows: Vec<Row> = model
        .units
        .keys()
        .flat_map(|name| rows_of_all(&model, &places, name))
        .collect();
    output.print(&rows, || {
        let head = ["UNIT", "MACHINE", "ACTIVE", "SUB"].map(str::to_string);
        let cells = rows.iter().map(|row| {
            let machine = row.machine.clone().unwrap_or_else(|| "-".to_string());
            let active = row.active.word().to_string();
            vec![row.unit.to_string(), machine, active, row.sub.clone()]
        });
        columns(&[head.to_vec()].into_iter().chain(cells).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct FileRow {
    unit: UnitName,
    hash: String,
    desired: State,
    state: State,
    targets: Vec<String>,
}

pub(super) async fn files(store: &Etcd, output: Output) -> Result<Exit> {
    let model = part::overview(store).await?;
    let places = Places::of(&model);
    let rows: Vec<FileRow> = model
        .units
        .iter()
        .map(|(name, unit)| FileRow {
            unit: name.clone(),
            hash: unit.value.digest.short().to_string(),
            desired: unit.value.state,
            state: places.standing(name).0,
            targets: places
                .holders(name)
                .iter()
                .map(|id| machine(&model, id))
                .collect(),
        })
        .collect();
    output.print(&rows, || {
        let head = ["UNIT", "HASH", "DSTATE", "STATE", "TARGET"].map(str::to_string);
        let cells = rows.iter().map(|row| {
            let target = match row.targets.as_slice() {
                [] => "-".to_string(),
                [one] => one.clone(),
                many => format!("{} machines", many.len()),
            };
            vec![
                row.unit.to_string(),
                row.hash.clone(),
                row.desired.to_string(),
                row.state.to_string(),
                target,
            ]
        });
        columns(&[head.to_vec()].into_iter().chain(cells).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

pub(super) async fn status(store: &Etcd, word: &str, output: Output) -> Result<Exit> {
    let name = find::known(word)?;
    let model = part::part(store, std::slice::from_ref(&name)).await?;
    if !model.units.contains_key(&name) {
        return Err(orders::Error::NoUnit(name).into());
    }
    let rows = rows_of_all(&model, &Places::of(&model), &name);
    output.print(&rows, || {
        let (state, _) = standing(&model, &name);
        let wanted = model.units[&name].value.state;
        let mut text = format!("{name}: {state} (wanted: {wanted})\n");
        if let Some(next) = next_turn(&model, &name) {
            text += &format!("  next run: {}\n", time(next));
        }
        text += &replacing(&model, &name);
        for row in &rows {
            if let Some(ended) = &row.ended {
                text += &last_run(row, ended);
                continue;
            }
            let replica = match row.unit == name {
                true => String::new(),
                false => format!("{} on ", row.unit),
            };
            text += &format!(
                "  {replica}{}: {}, {} ({}), content {}\n",
                row.machine.as_deref().unwrap_or("-"),
                row.load,
                row.active.word(),
                row.sub,
                row.hash
            );
            if let Some(problem) = &row.problem {
                text += &format!("    problem: {problem}\n");
            }
        }
        text
    })?;
    if let Some(ended) = rows.iter().find_map(|row| row.ended.as_ref()) {
        return Ok(match ended.is_well() {
            true => Exit::Done,
            false => Exit::Failed,
        });
    }
    let up = !rows.is_empty() && rows.iter().all(|row| row.active.is_up());
    Ok(if up { Exit::Done } else { Exit::NothingToDo })
}

/// The rows of a unit, or of all the replicas of a template.
fn rows_of_all(model: &Model, places: &Places, name: &UnitName) -> Vec<Row> {
    let replicas = model.replicas(name);
    let rows_of_replicas = replicas.iter().flat_map(|name| rows(model, places, name));
    rows(model, places, name)
        .into_iter()
        .chain(rows_of_replicas)
        .collect()
}

/// How far the replacing of a template's text is.
fn replacing(model: &Model, name: &UnitName) -> String {
    let replicas = model.replicas(name);
    let Some(rollout) = model.rollouts.get(name).filter(|_| !replicas.is_empty()) else {
        return String::new();
    };
    let unit = &model.units[name].value;
    if let Some(refused) = &rollout.value.refused
        && (&refused.digest, refused.run) == (&unit.digest, unit.run)
    {
        let text = unit.digest.short();
        return format!("  content {text} was taken back: {}\n", refused.cause);
    }
    let has_text = |replica: &&UnitName| {
        let held = model
            .desired
            .values()
            .filter_map(|at| at.value.units.get(*replica));
        held.into_iter().any(|held| held.digest == unit.digest)
    };
    let count = replicas.iter().filter(has_text).count();
    match rollout.value.good.as_ref() == Some(&unit.digest) {
        true => String::new(),
        false => format!(
            "  being replaced: {count} of {} have the new text\n",
            replicas.len()
        ),
    }
}

/// When a unit that waits for its time begins.
fn next_turn(model: &Model, name: &UnitName) -> Option<u64> {
    let course = model.read_requirements(name)?.course;
    match model.turn(name, &course, clock::now()) {
        Turn::At(time) => Some(time),
        _ => None,
    }
}

fn last_run(row: &Row, ended: &Ended) -> String {
    let machine = row.machine.as_deref().unwrap_or("-");
    let code = match ended.result.as_str() {
        "signal" | "core-dump" => "signal",
        _ => "exit code",
    };
    let mut text = format!(
        "  {machine}: ended {} with {}, {code} {}, content {}\n",
        time(ended.at),
        ended.result,
        ended.code,
        row.hash
    );
    for line in &ended.log {
        text += &format!("    | {line}\n");
    }
    text
}

/// Milliseconds since 1970, for people: UTC.
fn time(milliseconds: u64) -> String {
    let time = UtcDateTime::from_unix_timestamp(milliseconds as i64 / 1000);
    time.map_or_else(
        |_| "-".to_string(),
        |time| format!("{} {} UTC", time.date(), time_of_day(time)),
    )
}

fn time_of_day(time: UtcDateTime) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[derive(Debug, Serialize)]
struct Explained {
    machine: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<i64>,
}

pub(super) async fn explain(store: &Etcd, word: &str, output: Output) -> Result<Exit> {
    let name = find::known(word)?;
    let explained = explain::explain(store, &name).await?;
    let (model, verdicts) = (&explained.model, &explained.verdicts);
    if verdicts.is_empty() {
        bail!("no machine is registered");
    }
    let rows: Vec<Explained> = verdicts
        .iter()
        .map(|(id, verdict)| {
            let (word, reason, cost) = match verdict {
                Verdict::Holds => ("holds it", None, None),
                Verdict::May { cost } => ("may hold it", None, Some(*cost)),
                Verdict::MayNot(reason) => ("may not", Some(reason.clone()), None),
            };
            Explained {
                machine: machine(model, id),
                verdict: word,
                reason,
                cost,
            }
        })
        .collect();
    output.print(&rows, || {
        let head = ["MACHINE", "VERDICT", "WHY"].map(str::to_string);
        let cells = rows.iter().map(|row| {
            let cost = row.cost.map(|cost| format!("cost {cost}"));
            let why = row.reason.clone().or(cost).unwrap_or_default();
            vec![row.machine.clone(), row.verdict.to_string(), why]
        });
        columns(&[head.to_vec()].into_iter().chain(cells).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}
