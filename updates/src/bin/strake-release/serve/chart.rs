//! Bars of boxes, each with its number in words beside it: colour alone says nothing.

use strake_updates::report::Kind;

use super::page::escape;

/// How far machines are, furthest first.
pub(super) const ORDER: [Kind; 5] = [
    Kind::Blessed,
    Kind::Installed,
    Kind::Downloading,
    Kind::Checked,
    Kind::FellBack,
];

/// Machines by how far they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts([u64; ORDER.len()]);

impl Counts {
    pub(super) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// A bar, and the numbers that are not zero.
    pub(super) fn html(&self) -> String {
        let boxes = ORDER.map(|kind| (kind.as_str().to_owned(), self.of(kind)));
        let words = ORDER
            .into_iter()
            .filter(|kind| self.of(*kind) > 0)
            .map(|kind| {
                format!(
                    "<li><span class=\"key {kind}\"></span>{} {}</li>",
                    self.of(kind),
                    word(kind)
                )
            });
        let words: String = words.collect();
        let words = match words.as_str() {
            "" => "<p class=\"soft small\">no machine has reported yet</p>\n".to_owned(),
            words => format!("<ul class=\"legend small\">{words}</ul>\n"),
        };
        bar(&boxes) + &words
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Blessed => "run it",
        Kind::Installed => "installed it",
        Kind::Downloading => "download it",
        Kind::Checked => "know of it",
        Kind::FellBack => "fell back",
    }
}

/// Boxes by class, as wide as their share.
pub(super) fn bar(boxes: &[(String, u64)]) -> String {
    let total: u64 = boxes.iter().map(|(_, count)| count).sum();
    let boxes = boxes.iter().filter(|(_, count)| *count > 0);
    let boxes = boxes.map(|(class, count)| {
        let width = *count as f64 * 100.0 / total as f64;
        format!("<span class=\"{class}\" style=\"width:{width:.2}%\"></span>")
    });
    let boxes: String = boxes.collect();
    format!("<div class=\"bar\" aria-hidden=\"true\">{boxes}</div>\n")
}

/// The class of a version in a chart: the first five have colours, the rest share one.
pub(super) fn version_class(rank: usize) -> String {
    format!("v{}", rank.min(5))
}

pub(super) fn legend(versions: &[String]) -> String {
    let named = versions.iter().take(5).enumerate().map(|(rank, version)| {
        let (class, version) = (version_class(rank), escape(version));
        format!("<li><span class=\"key {class}\"></span>{version}</li>")
    });
    let rest = match versions.len() > 5 {
        true => "<li><span class=\"key v5\"></span>others</li>",
        false => "",
    };
    let named: String = named.collect();
    format!("<ul class=\"legend small\">{named}{rest}</ul>\n")
}
