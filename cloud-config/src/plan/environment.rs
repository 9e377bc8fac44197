//! `/etc/environment`: the address variables every unit may read, merged into what is there.

use serde::Serialize;

use super::update_conf::merge_lines;
use crate::context::{Address, Addresses, Variable};

pub(super) const PATH: &str = "/etc/environment";

/// The variables with a value. Order and comments of the file stay; new ones go to the end,
/// sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    values: Vec<(&'static str, String)>,
}

impl Environment {
    pub fn of(addresses: &Addresses) -> Self {
        let mut values: Vec<_> = Variable::ALL
            .into_iter()
            .filter_map(|variable| {
                let value = addresses.text(variable)?;
                (!value.is_empty()).then(|| (variable.environment(), value))
            })
            .collect();
        values.sort_unstable();
        Self { values }
    }

    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
    }

    pub fn merge(&self, existing: &str) -> String {
        merge_lines(existing, &self.values)
    }

    /// Whether a later phase can add to it.
    pub fn is_complete(addresses: &Addresses) -> bool {
        !matches!(addresses.public_ipv4, Address::Unknown)
            && !matches!(addresses.private_ipv4, Address::Unknown)
            && !matches!(addresses.public_ipv6, Address::Unknown)
            && !matches!(addresses.private_ipv6, Address::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_with_a_value_are_written_and_the_rest_stays() {
        let addresses = Addresses {
            public_ipv4: Address::Known([192, 0, 2, 1].into()),
            private_ipv4: Address::Known([10, 0, 0, 1].into()),
            public_ipv6: Address::Absent,
            private_ipv6: Address::Unknown,
        };
        assert_eq!(
            Environment::of(&addresses).merge("# mine\nCOREOS_PUBLIC_IPV4=1.1.1.1\nA=b\n"),
            "# mine\nCOREOS_PUBLIC_IPV4=192.0.2.1\nA=b\nCOREOS_PRIVATE_IPV4=10.0.0.1\n"
        );
        assert!(!Environment::is_complete(&addresses));
        assert!(Environment::is_complete(&addresses.settled()));
    }
}
