//! The combinations of seeds that every cell of a grid is trained with.

use clr_spec::Spec;

use super::TrialId;

/// One combination of seeds.
#[derive(Clone, Debug)]
pub struct Seeding {
    pub init: u64,
    pub data: u64,
    /// Seeds under the names of their columns.
    pub named: Vec<(&'static str, u64)>,
}

impl Seeding {
    /// The id of the trial with these seeds of a cell of these canonical bytes.
    pub fn id(&self, cell: &[u8]) -> TrialId {
        let mut canonical = cell.to_vec();
        canonical.extend(self.init.to_le_bytes());
        canonical.extend(self.data.to_le_bytes());
        TrialId::of(&canonical)
    }
}

/// All combinations of the seeds of a spec.
pub fn seedings(spec: &Spec) -> Vec<Seeding> {
    let names = seed_names(spec);
    let mut seedings = Vec::new();
    for &both in &spec.seeds.both {
        for &init in spec.seeds.init.as_deref().unwrap_or(&[both]) {
            for &data in spec.seeds.data.as_deref().unwrap_or(&[both]) {
                let value = |name: &str| match name {
                    "init_seed" => init,
                    "data_seed" => data,
                    _ => both,
                };
                seedings.push(Seeding { init, data, named: names.iter().map(|name| (*name, value(name))).collect() });
            }
        }
    }
    seedings
}

/// `seed`, and those that are set apart; without `seed` where it decides nothing.
pub fn seed_names(spec: &Spec) -> Vec<&'static str> {
    let mut names = Vec::new();
    if spec.seeds.init.is_none() || spec.seeds.data.is_none() {
        names.push("seed");
    }
    names.extend(spec.seeds.init.as_ref().map(|_| "init_seed"));
    names.extend(spec.seeds.data.as_ref().map(|_| "data_seed"));
    names
}
