//! The view as HTML, in parts that are sent anew one by one when they change. Pure.

use std::collections::BTreeMap;

use super::html::Html;
use super::view::{Group, Machine, Presence, Release, Unit, View};

mod parts;
mod tables;

const STYLE: &str = include_str!("page.css");
pub const SCRIPT: &str = include_str!("page.js");
/// Rows of a table on one page.
const ROWS: usize = 100;

/// What is shown, as the address asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Pages, from 1.
    pub machines: usize,
    pub units: usize,
}

/// What the page tells beside the view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The cluster's name.
    pub name: String,
    /// When the view was made.
    pub at: String,
    /// Since when the store is silent, and what it said last.
    pub silent: Option<(String, String)>,
}

/// A part of the page: where it belongs, and what it is now.
pub type Part = (&'static str, String);

impl Place {
    /// Of the query of the address; what is not understood is the first page.
    pub fn parse(query: &str) -> Place {
        let number = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            let found = pairs.find(|(key, _)| key == name)?;
            found.1.parse().ok().filter(|page| *page > 0)
        };
        Place {
            machines: number("machines").unwrap_or(1),
            units: number("units").unwrap_or(1),
        }
    }

    fn query(self) -> String {
        format!("?machines={}&units={}", self.machines, self.units)
    }
}

/// In the order of the page.
pub fn parts(view: &View, frame: &Frame, place: Place) -> Vec<Part> {
    let names = names(view);
    let parts = [
        ("head", parts::head(view, frame)),
        ("notes", parts::notes(view, frame, &names)),
        ("releases", parts::releases(view, &names)),
        ("lock", parts::locks(&view.locks, &names)),
        ("machines", tables::machines(&view.machines, place)),
        ("units", tables::units(&view.units, &names, place)),
    ];
    parts
        .into_iter()
        .map(|(id, html)| (id, html.finish()))
        .collect()
}

/// The whole page. Without script it loads itself anew.
pub fn page(view: &View, frame: &Frame, place: Place) -> String {
    let mut html = Html::default();
    html.raw(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript><title>",
    );
    html.text(&frame.name)
        .raw(" \u{b7} Strake</title><style>")
        .raw(STYLE);
    html.raw("</style></head><body>\n<main>");
    let mut page = html.finish();
    for (id, part) in parts(view, frame, place) {
        page += &format!("\n<section id=\"{id}\">{part}</section>");
    }
    page + "\n</main><script>" + SCRIPT + "</script></body></html>\n"
}

type Names<'v> = BTreeMap<&'v str, &'v str>;

/// How people know machines, by id.
fn names(view: &View) -> Names<'_> {
    let machines = view.machines.iter();
    machines
        .map(|machine| (machine.id.as_str(), machine.name()))
        .collect()
}

fn name_of<'n>(names: &Names<'n>, id: &'n str) -> &'n str {
    let short = id.get(..8).unwrap_or(id);
    names.get(id).copied().unwrap_or(short)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
