//! The dashboard, asked from another machine.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::members::{LIMIT, NUMBERS, address};
use crate::machine::Machine;
use crate::scenario::Stage;
use crate::wait::Deadline;

pub(super) const PORT: u16 = 8443;
pub(super) const TOKEN: &str = "lab-0123456789abcdef";
const AUTHORITY: &str = "/etc/strake/etcd.json";

pub(super) fn shown(one: &mut Machine, _stage: &Stage) -> Result<()> {
    let settings = one.ask(&format!("sudo cat {AUTHORITY}"))?;
    let settings: Value = serde_json::from_str(&settings).context("the store's settings")?;
    let authority = settings["ca"].as_str().context("no authority")?;
    let get = |number: u8, header: &str, path: &str| {
        format!(
            "sudo curl -sS --max-time 20 --cacert {authority} --write-out '%{{http_code}}' --header '{header}' \
             https://{}:{PORT}{path}",
            address(number)
        )
    };
    let known = format!("Authorization: Bearer {TOKEN}");
    for number in NUMBERS {
        let what = format!("the dashboard of machine {number}");
        one.wait_until(&what, Deadline::seconds(LIMIT), |one| {
            let told = one.ssh(&get(number, &known, "/cluster.json"))?.stdout;
            let Some(text) = told.strip_suffix("200") else {
                return Ok(None);
            };
            let view: Value = serde_json::from_str(text).context("the view")?;
            let machines = view["machines"].as_array().map_or(0, Vec::len);
            Ok((machines == NUMBERS.len()).then_some(()))
        })?;
        let page = one.ask(&get(number, &known, "/"))?;
        ensure!(
            page.contains("<h2") && NUMBERS.iter().all(|other| page.contains(&address(*other))),
            "the page is {page}"
        );
        let refused = one
            .ssh(&get(number, "Authorization: Bearer no", "/"))?
            .stdout;
        ensure!(refused.ends_with("401"), "without the token: {refused}");
    }
    Ok(())
}
