//! Equivalence classes: units that ask the same share one list of machines that fit.

use std::collections::HashMap;

use super::obstacle::{self, Purpose};
use super::{Snapshot, Work};
use crate::scheduler::name::UnitName;
use crate::scheduler::requirement::Requirements;

#[derive(Debug)]
pub(super) struct Class<'s> {
    pub requirements: &'s Requirements,
}

#[derive(Debug, Default)]
pub(super) struct Classes<'s> {
    pub all: Vec<Class<'s>>,
    pub of_unit: HashMap<&'s UnitName, usize>,
}

impl<'s> Classes<'s> {
    #[allow(
        clippy::mutable_key_type,
        reason = "a condition is hashed by its text, which never changes"
    )]
    pub(super) fn of(snapshot: &'s Snapshot) -> Classes<'s> {
        let mut known: HashMap<(&Requirements, &str), usize> = HashMap::new();
        let mut classes = Classes::default();
        for (name, wanted) in &snapshot.units {
            let requirements = &*wanted.requirements;
            // Instances of one template are spread together, whatever else is like them.
            let group = match (requirements.spread.is_empty(), name.instance()) {
                (false, Some(_)) => name.prefix(),
                _ => "",
            };
            let index = *known.entry((requirements, group)).or_insert_with(|| {
                classes.all.push(Class { requirements });
                classes.all.len() - 1
            });
            classes.of_unit.insert(name, index);
        }
        classes
    }
}

impl<'s> Work<'s> {
    /// Machines that fit the class as far as that does not depend on what they hold.
    pub(super) fn fitting(&self, class: usize) -> Vec<usize> {
        let requirements = self.classes.all[class].requirements;
        (0..self.slots.len())
            .filter(|index| {
                let machine = self.slots[*index].machine;
                obstacle::of_machine(requirements, machine, Purpose::Place).is_none()
            })
            .collect()
    }

    /// The lower the better. A unit that is there weighs 10, a full machine 100 for memory and for
    /// processors each, an avoided unit 100, a unit of the same class in the same zone 1000.
    pub(super) fn cost(&self, class: usize, index: usize) -> i64 {
        self.own_cost(class, index) + self.spread_cost(class, index)
    }

    /// What does not depend on other machines. It only grows while units are placed.
    pub(super) fn own_cost(&self, class: usize, index: usize) -> i64 {
        let requirements = self.classes.all[class].requirements;
        let slot = &self.slots[index];
        let mut cost = 10 * slot.residents.len() as i64 + slot.share();
        if !requirements.avoid.is_empty() {
            for resident in &slot.residents {
                let name = resident.name.as_str();
                let avoided = requirements.avoid.iter().any(|glob| glob.matches(name));
                cost += if avoided { 100 } else { 0 };
            }
        }
        for (weight, condition) in &requirements.prefer {
            if condition.holds(slot.machine) {
                cost -= weight;
            }
        }
        cost
    }

    /// The same for all machines of one zone.
    pub(super) fn spread_cost(&self, class: usize, index: usize) -> i64 {
        let values = self.zone(class, index).into_iter();
        let counts = values.map(|(key, value)| {
            let count = self.spread.get(&(class, key, value));
            1000 * count.copied().unwrap_or(0)
        });
        counts.sum()
    }

    /// The values of the keys that the class is spread over.
    pub(super) fn zone(&self, class: usize, index: usize) -> Vec<(&'s str, &'s str)> {
        let requirements = self.classes.all[class].requirements;
        let metadata = &self.slots[index].machine.metadata;
        let keys = requirements.spread.iter();
        keys.filter_map(|key| Some((key.as_str(), metadata.get(key)?.as_str())))
            .collect()
    }
}
