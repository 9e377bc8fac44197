//! Tables with fleetctl's columns.

use anyhow::{Result, bail};

use super::client::{Client, Machine, State, Unit};
use super::flags::Flags;
use crate::cli::output::{columns, print};
use crate::exit::Exit;

const NONE: &str = "-";

/// Name of a column and how to fill it.
type Column<T> = (&'static str, fn(&T, &Context) -> String);

struct Context {
    machines: Vec<Machine>,
    full: bool,
}

impl Context {
    fn machine(&self, id: &str) -> String {
        let known = self.machines.iter().find(|machine| machine.id == id);
        let shown = self.id(id);
        match known {
            _ if id.is_empty() => NONE.to_string(),
            Some(machine) if !machine.address.is_empty() => format!("{shown}/{}", machine.address),
            _ => shown,
        }
    }

    fn id(&self, id: &str) -> String {
        match id.get(..8) {
            Some(short) if !self.full => format!("{short}..."),
            _ => id.to_string(),
        }
    }

    fn hash(&self, hash: &str) -> String {
        match hash.get(..7) {
            Some(short) if !self.full => short.to_string(),
            _ => or_none(hash),
        }
    }
}

fn or_none(text: &str) -> String {
    match text {
        "" => NONE.to_string(),
        text => text.to_string(),
    }
}

const UNITS: [Column<State>; 6] = [
    ("unit", |state, _| state.name.clone()),
    ("machine", |state, context| {
        context.machine(&state.machine_id)
    }),
    ("active", |state, _| or_none(&state.systemd_active_state)),
    ("sub", |state, _| or_none(&state.systemd_sub_state)),
    ("load", |state, _| or_none(&state.systemd_load_state)),
    ("hash", |state, context| context.hash(&state.hash)),
];

const FILES: [Column<Unit>; 8] = [
    ("unit", |unit, _| unit.name.clone()),
    ("hash", |unit, context| {
        let hash = unit.hash().map(|hash| hash.to_string());
        context.hash(&hash.unwrap_or_default())
    }),
    ("dstate", |unit, _| or_none(&unit.desired_state)),
    ("state", |unit, _| match unit.is_global() {
        true => NONE.to_string(),
        false => or_none(&unit.current_state),
    }),
    ("target", |unit, context| match unit.is_global() {
        true => "global".to_string(),
        false => context.machine(&unit.machine_id),
    }),
    ("desc", |unit, _| {
        let text = unit.text();
        let value = text
            .as_ref()
            .and_then(|text| text.value("Unit", "Description"));
        or_none(value.unwrap_or_default())
    }),
    ("global", |unit, _| unit.is_global().to_string()),
    ("tmachine", |unit, context| match unit.machine_id.as_str() {
        "" => NONE.to_string(),
        id => context.id(id),
    }),
];

const MACHINES: [Column<Machine>; 3] = [
    ("machine", |machine, context| context.id(&machine.id)),
    ("ip", |machine, _| or_none(&machine.address)),
    ("metadata", |machine, _| {
        let pairs = machine.metadata.iter();
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        or_none(&pairs.join(","))
    }),
];

pub(super) async fn units(client: &Client, flags: &Flags) -> Result<Exit> {
    let mut states = client.states().await?;
    states.sort_by(|a, b| (&a.name, &a.machine_id).cmp(&(&b.name, &b.machine_id)));
    let context = context(client, flags).await?;
    show(&states, &UNITS, "unit,machine,active,sub", flags, &context)
}

pub(super) async fn files(client: &Client, flags: &Flags) -> Result<Exit> {
    let units = client.units().await?;
    let context = context(client, flags).await?;
    show(
        &units,
        &FILES,
        "unit,hash,dstate,state,target",
        flags,
        &context,
    )
}

pub(super) async fn machines(client: &Client, flags: &Flags) -> Result<Exit> {
    let context = context(client, flags).await?;
    show(
        &context.machines,
        &MACHINES,
        "machine,ip,metadata",
        flags,
        &context,
    )
}

async fn context(client: &Client, flags: &Flags) -> Result<Context> {
    Ok(Context {
        machines: client.machines().await?,
        full: flags.is_set("full"),
    })
}

fn show<T>(
    rows: &[T],
    known: &[Column<T>],
    default: &str,
    flags: &Flags,
    context: &Context,
) -> Result<Exit> {
    let fields = match flags.value("fields") {
        "" => default,
        fields => fields,
    };
    let mut chosen = Vec::new();
    for field in fields.split(',') {
        let Some(column) = known.iter().find(|(name, _)| *name == field) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            bail!(
                "invalid key in output format: {field:?} is none of {}",
                names.join(", ")
            );
        };
        chosen.push(column);
    }
    let mut table = Vec::new();
    if !flags.is_set("no-legend") {
        table.push(chosen.iter().map(|(name, _)| name.to_uppercase()).collect());
    }
    for row in rows {
        table.push(chosen.iter().map(|(_, fill)| fill(row, context)).collect());
    }
    print(&columns(&table));
    Ok(Exit::Done)
}
