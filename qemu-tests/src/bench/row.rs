//! A measured figure beside its peer's and its bar.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub measure: String,
    /// A number, or the description of the machine in the first row.
    pub value: serde_json::Value,
    pub unit: &'static str,
    pub peer: Option<String>,
    pub peer_value: Option<f64>,
    pub ratio: Option<f64>,
    /// As it is written in the project's aims.
    pub bar: Option<String>,
    pub holds: Option<bool>,
}

impl Row {
    pub fn new(measure: &str, value: f64, unit: &'static str) -> Self {
        Self {
            measure: measure.to_owned(),
            value: rounded(value).into(),
            unit,
            peer: None,
            peer_value: None,
            ratio: None,
            bar: None,
            holds: None,
        }
    }

    /// What was measured on, without which no figure means anything.
    pub fn machine(description: &str) -> Self {
        let value = description.into();
        Self {
            value,
            ..Self::new("machine", 0.0, "")
        }
    }

    /// What must be known beside the figures.
    pub fn text(measure: &str, value: &str) -> Self {
        Self {
            value: value.into(),
            ..Self::new(measure, 0.0, "")
        }
    }

    pub fn against(mut self, peer: &str, peer_value: f64) -> Self {
        self.peer = Some(peer.to_owned());
        self.peer_value = Some(rounded(peer_value));
        self.ratio = self
            .number()
            .filter(|_| peer_value > 0.0)
            .map(|own| rounded(own / peer_value));
        self
    }

    pub fn at_most(mut self, bar: f64) -> Self {
        self.bar = Some(format!("at most {bar} {}", self.unit).trim_end().to_owned());
        self.holds = self.number().map(|own| own <= bar);
        self
    }

    pub fn at_least(mut self, bar: f64) -> Self {
        self.bar = Some(
            format!("at least {bar} {}", self.unit)
                .trim_end()
                .to_owned(),
        );
        self.holds = self.number().map(|own| own >= bar);
        self
    }

    pub fn ratio_at_most(mut self, bar: f64) -> Self {
        self.bar = Some(format!("ratio at most {bar}"));
        self.holds = self.ratio.map(|ratio| ratio <= bar);
        self
    }

    pub fn ratio_at_least(mut self, bar: f64) -> Self {
        self.bar = Some(format!("ratio at least {bar}"));
        self.holds = self.ratio.map(|ratio| ratio >= bar);
        self
    }

    fn number(&self) -> Option<f64> {
        self.value.as_f64()
    }

    pub fn cells(&self) -> [String; 7] {
        let or_empty = |number: Option<f64>| number.map(|one| one.to_string()).unwrap_or_default();
        let value = self
            .value
            .as_str()
            .map_or_else(|| self.value.to_string(), str::to_owned);
        let holds = match self.holds {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        [
            self.measure.clone(),
            format!("{value} {}", self.unit).trim_end().to_owned(),
            self.peer.clone().unwrap_or_default(),
            self.peer_value
                .map(|own| format!("{own} {}", self.unit))
                .unwrap_or_default(),
            or_empty(self.ratio),
            self.bar.clone().unwrap_or_default(),
            holds.to_owned(),
        ]
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The runs of one measure.
#[derive(Debug, Default, Clone)]
pub struct Summary(Vec<f64>);

impl Summary {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        median(&self.0)
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_row_has_the_keys_that_readers_expect() {
        let row = Row::new("boot", 20.0, "s")
            .against("reference", 56.0)
            .ratio_at_most(0.4);
        let json = serde_json::to_value(&row).unwrap();
        let expected = serde_json::json!({
            "measure": "boot", "value": 20.0, "unit": "s", "peer": "reference",
            "peer_value": 56.0, "ratio": 0.357, "bar": "ratio at most 0.4", "holds": true,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_bar_without_a_peer_is_of_the_value() {
        assert_eq!(Row::new("size", 14.0, "MB").at_most(15.0).holds, Some(true));
        assert_eq!(
            Row::new("size", 15.1, "MB").at_most(15.0).holds,
            Some(false)
        );
        assert_eq!(Row::new("size", 15.1, "MB").ratio_at_most(0.5).holds, None);
        assert_eq!(
            Row::new("rate", 9.0, "/s").at_least(10.0).holds,
            Some(false)
        );
        assert_eq!(
            Row::new("rate", 10.0, "/s").at_least(10.0).holds,
            Some(true)
        );
        assert_eq!(Row::machine("2 processors").cells()[1], "2 processors");
    }
}
