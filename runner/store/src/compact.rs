//! Compaction: from sealed parts, in the order in which things happened, to tables in the spec's order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::Field;
use clr_plan::{AxisValue, Plan, Trial, TrialId};
use clr_spec::LastBatch;

use super::derived::complete;
use super::files::Unnamed;
use super::flight::epochs;
use super::manifest::{Manifest, Segment, Segments, TrialRecord};
use super::schema::{Columns, Layout, Table};
use super::source::Sources;
use super::table::{Cut, Owner, TableWriter};
use super::{StoreError, swap};
use crate::names::{FAILED, FORMAT};

/// New files, and where rows are once those have their names. Nothing is visible until the caller names them.
pub struct Compaction {
    /// By path in the folder.
    pub files: Vec<(String, Unnamed)>,
    /// The new places of the rows of trials that the plan covers.
    tables: Vec<Moved>,
    /// The parts with rows of others, and whose they are.
    retained: Vec<(Moved, Vec<TrialId>)>,
    /// The number of the next sealed part.
    next_part: u64,
}

/// The new place of the rows of some trials, one trial after the other.
struct Moved {
    table: Table,
    outcome: Wanted,
    /// The files' names, and which of the rows each has.
    files: Vec<(Arc<str>, Range<u64>)>,
    /// For each trial, where its rows end, and those of the next begin.
    ends: Vec<u64>,
}

/// Trials whose rows lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Those that are done: in `metrics` and `evals`.
    Done,
    /// Those that failed: apart.
    Failed,
}

impl Wanted {
    fn holds(self, record: &TrialRecord) -> bool {
        match self {
            Wanted::Done => record.status.is_done(),
            Wanted::Failed => record.status.is_failure() && !(record.metrics.is_empty() && record.evals.is_empty()),
        }
    }
}

/// A hash of everything that the tables are made from, besides the rows themselves.
pub fn layout_digest(plan: &Plan, columns: &Columns, manifest: &Manifest) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(&FORMAT.to_le_bytes());
    for axis in &columns.axes {
        add(axis.name.as_bytes());
        add(&[axis.kind as u8]);
    }
    for names in [&columns.hypers, &columns.metrics] {
        add(&(names.len() as u64).to_le_bytes());
        names.iter().for_each(|name| add(name.as_bytes()));
    }
    let done = covered(plan, manifest, Wanted::Done).map(|it| (it, false));
    for ((trial, record), has_failed) in done.chain(covered(plan, manifest, Wanted::Failed).map(|it| (it, true))) {
        if has_failed {
            add(record.status.name().as_bytes());
        }
        let owner = Owner::of(trial);
        add(owner.id.to_string().as_bytes());
        // Where an epoch is a whole number of batches, the column `epoch` has been this for ever.
        let data = &trial.shape.data;
        if data.last_batch != LastBatch::Wrap && !data.train_count.is_multiple_of(u64::from(data.update_size()).max(1))
        {
            add(format!("e{}", data.iterations_per_epoch()).as_bytes());
        }
        for value in owner.axes {
            match value {
                None => add(b"-"),
                Some(AxisValue::Text(text)) => add(format!("t{}", &**text).as_bytes()),
                Some(AxisValue::Integer(integer)) => add(format!("i{integer}").as_bytes()),
                Some(AxisValue::Float(float)) => add(format!("f{:x}", float.to_bits()).as_bytes()),
                Some(AxisValue::Boolean(boolean)) => add(format!("b{boolean}").as_bytes()),
            }
        }
        for table in [Table::Metrics, Table::Evals] {
            let rows: u64 = record.segments(table).iter().map(|segment| segment.2).sum();
            add(&rows.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// True if `metrics/` and `evals/` hold exactly what `plan` covers, so that nothing need be written.
pub fn is_compacted(plan: &Plan, digest: &str, manifest: &Manifest) -> bool {
    manifest.layout.as_deref() == Some(digest)
        && [Wanted::Done, Wanted::Failed].into_iter().flat_map(|wanted| covered(plan, manifest, wanted)).all(
            |(_, record)| {
                [Table::Metrics, Table::Evals]
                    .into_iter()
                    .all(|table| record.segments(table).iter().all(|segment| segment.is_compacted(table)))
            },
        )
}

/// True if trials of the plan that failed have rows.
pub fn has_failed(plan: &Plan, manifest: &Manifest) -> bool {
    covered(plan, manifest, Wanted::Failed).next().is_some()
}

/// The trials that the tables hold, in order.
fn covered<'a>(
    plan: &'a Plan,
    manifest: &'a Manifest,
    wanted: Wanted,
) -> impl Iterator<Item = (&'a Trial, &'a TrialRecord)> {
    plan.trials.iter().filter_map(move |trial| {
        let record = manifest.trials.get(&trial.id).filter(|record| wanted.holds(record))?;
        Some((trial, &**record))
    })
}

/// Writes the tables anew, and moves rows of trials that `plan` no longer covers out of the old ones into parts.
pub fn compact(
    folder: &Path,
    plan: &Plan,
    columns: &Columns,
    manifest: &Manifest,
    tables: Cut,
    parts: Cut,
) -> Result<Compaction, StoreError> {
    let mut compaction =
        Compaction { files: Vec::new(), tables: Vec::new(), retained: Vec::new(), next_part: manifest.next_part };
    let mut sources = Sources::new(folder, manifest);
    let others: Vec<(TrialId, &TrialRecord)> = manifest.uncovered(plan).collect();
    for table in [Table::Metrics, Table::Evals] {
        let layout = columns.layout(table);
        let directory = swap::directory(folder, table.name());
        let trials = covered(plan, manifest, Wanted::Done)
            .map(|(trial, record)| (Owner::of(trial), Some(trial), record.segments(table)));
        let name = |index: usize, file: &Unnamed| {
            // Named by content: the manifest's names tell the old files from the new.
            format!("{}/{index:05}-{}.parquet", table.name(), &file.entry.blake3[..12])
        };
        let moved = compaction.write(&mut sources, columns, &layout, &directory, tables, trials, name)?;
        compaction.tables.push(moved);

        // What became of a trial stands beside its rows.
        let failed = covered(plan, manifest, Wanted::Failed);
        let failed: Vec<(&Trial, &TrialRecord, Vec<Option<AxisValue>>)> = failed
            .map(|(trial, record)| {
                let status = AxisValue::Text(record.status.name().into());
                (trial, record, trial.axes.iter().cloned().chain([Some(status)]).collect())
            })
            .collect();
        if !failed.is_empty() {
            let layout = columns.layout_of_failed(table);
            let directory = swap::directory(folder, FAILED);
            let trials = failed.iter().map(|(trial, record, axes)| {
                (Owner { axes, ..Owner::of(trial) }, Some(*trial), record.segments(table))
            });
            let name = |index: usize, file: &Unnamed| {
                format!("{FAILED}/{}-{index:05}-{}.parquet", table.name(), &file.entry.blake3[..12])
            };
            let moved = compaction.write(&mut sources, columns, &layout, &directory, tables, trials, name)?;
            compaction.tables.push(Moved { outcome: Wanted::Failed, ..moved });
        }

        let mut retained: BTreeMap<&str, Vec<(TrialId, &Segment)>> = BTreeMap::new();
        for &(id, record) in &others {
            for segment in record.segments(table).iter().filter(|segment| segment.is_compacted(table)) {
                retained.entry(&segment.0).or_default().push((id, segment));
            }
        }
        let directory = folder.join("parts");
        for (file, trials) in retained {
            let layout = Layout::new(table, Vec::new(), sources.values(file)?);
            let owners = trials.iter().map(|(id, _)| *id).collect();
            let owned =
                trials.into_iter().map(|(id, segment)| (Owner::known_by(id), None, std::slice::from_ref(segment)));
            let number = compaction.next_part;
            compaction.next_part += 1;
            let name = |_, _: &Unnamed| part_name(table, number);
            let moved = compaction.write(&mut sources, columns, &layout, &directory, parts, owned, name)?;
            compaction.retained.push((moved, owners));
        }
    }
    Ok(compaction)
}

/// The path of a sealed part.
pub fn part_name(table: Table, number: u64) -> String {
    format!("parts/{}-{number:06}.parquet", table.name())
}

impl Compaction {
    /// Copies the segments of `trials`, in order, to new files in `directory`.
    #[expect(clippy::too_many_arguments, reason = "from where, whose, and to where")]
    fn write<'a, 'o>(
        &mut self,
        sources: &mut Sources<'a>,
        columns: &Columns,
        layout: &'o Layout,
        directory: &'o Path,
        cut: Cut,
        trials: impl Iterator<Item = (Owner<'o>, Option<&'o Trial>, &'a [Segment])>,
        name: impl Fn(usize, &Unnamed) -> String,
    ) -> Result<Moved, StoreError> {
        let mut writer = TableWriter::new(layout, directory, cut);
        let mut moved = Moved { table: layout.table, outcome: Wanted::Done, files: Vec::new(), ends: Vec::new() };
        let mut end = 0;
        for (owner, trial, segments) in trials {
            for segment in segments {
                sources.read(segment, &layout.values, |values| {
                    let mut values = with_epochs(values, &layout.values, owner);
                    if let Some(trial) = trial {
                        complete(trial, columns, layout.table, &mut values);
                    }
                    end = writer.push(owner, &values)?.end;
                    Ok(())
                })?;
            }
            moved.ends.push(end);
        }
        let mut start = 0;
        for (index, file) in writer.finish()?.into_iter().enumerate() {
            let name = name(index, &file);
            moved.files.push((name.as_str().into(), start..start + file.entry.rows));
            start += file.entry.rows;
            self.files.push((name, file));
        }
        Ok(moved)
    }

    /// Tells the manifest where the rows are now: `plan` and `manifest` are as they were for [`compact`].
    pub fn enter(self, plan: &Plan, manifest: &mut Manifest) {
        for moved in &self.tables {
            let mut segments = moved.segments();
            for trial in plan.trials.iter() {
                let Some(record) = manifest.trials.get_mut(&trial.id) else { continue };
                if moved.outcome.holds(record) {
                    *record.segments_mut(moved.table) = segments.next().unwrap_or_default();
                } else if !record.status.has_rows() {
                    // It failed, and was begun anew.
                    record.segments_mut(moved.table).clear();
                }
            }
        }
        // Rows of one trial may have come out of several old files.
        for (moved, ids) in &self.retained {
            for id in ids {
                if let Some(record) = manifest.trials.get_mut(id) {
                    record.segments_mut(moved.table).retain(|segment| !segment.is_compacted(moved.table));
                }
            }
        }
        for (moved, ids) in &self.retained {
            for (id, segments) in ids.iter().zip(moved.segments()) {
                if let Some(record) = manifest.trials.get_mut(id) {
                    record.segments_mut(moved.table).extend(segments);
                }
            }
        }
        manifest.next_part = self.next_part;
    }
}

/// Counts the epochs anew: older outputs have others, where `last_batch` is not "wrap".
fn with_epochs(values: &[ArrayRef], fields: &[Field], owner: Owner<'_>) -> Vec<ArrayRef> {
    let mut values = values.to_vec();
    let column = |name: &str| fields.iter().position(|field| field.name() == name);
    if let (Some(epoch), Some(from), Some(to)) = (owner.epoch, column("iteration"), column("epoch"))
        && let Some(iterations) = values[from].as_primitive_opt::<Int64Type>()
    {
        values[to] = epochs(iterations, epoch);
    }
    values
}

impl Moved {
    /// Of each trial, where its rows are: cut at the files' ends.
    fn segments(&self) -> impl Iterator<Item = Segments> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| {
            let from = self.files.partition_point(|(_, rows)| rows.end <= start);
            let here = self.files[from..].iter().map_while(|(name, rows)| {
                let (first, last) = (start.max(rows.start), end.min(rows.end));
                (first < last).then(|| Segment(Arc::clone(name), first - rows.start, last - first))
            });
            here.collect()
        })
    }
}
