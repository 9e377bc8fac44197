//! `GET /strake/v1/units/NAME/explain`: for each machine why it may or may not hold the unit.

use serde::Serialize;

use super::answer::{Answer, Answered};
use crate::scheduler::explain;
use crate::scheduler::machine::MachineId;
use crate::scheduler::name::UnitName;
use crate::scheduler::plan::Verdict;
use crate::store::Store;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'e> {
    name: &'e UnitName,
    /// Why no machine may hold it; null when one may or does.
    refusal: Option<String>,
    machines: Vec<Machine<'e>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Machine<'e> {
    #[serde(rename = "machineID")]
    machine_id: &'e MachineId,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<i64>,
}

pub(super) async fn explain(store: &impl Store, name: &UnitName) -> Answered {
    let explained = explain::explain(store, name).await?;
    let machine = |(machine_id, verdict)| {
        let (verdict, reason, cost) = match verdict {
            &Verdict::Holds => ("holds", None, None),
            &Verdict::May { cost } => ("may", None, Some(cost)),
            Verdict::MayNot(reason) => ("may-not", Some(reason.as_str()), None),
        };
        Machine {
            machine_id,
            verdict,
            reason,
            cost,
        }
    };
    Answer::ok(&Explained {
        name,
        refusal: explained.refusal(),
        machines: explained.verdicts.iter().map(machine).collect(),
    })
}
