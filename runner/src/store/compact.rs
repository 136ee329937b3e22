//! Compaction: from sealed parts, in the order in which things happened, to tables in the spec's order.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::StoreError;
use super::files::Unnamed;
use super::manifest::{Manifest, Segment, TrialRecord};
use super::schema::{Columns, FORMAT, Layout, Table};
use super::source::Sources;
use super::table::{Cut, Owner, TableWriter};
use crate::plan::{AxisValue, Plan};

/// New files, and where rows are once those have their names. Nothing is visible until the caller names them.
pub(crate) struct Compaction {
    /// By path in the folder.
    pub files: Vec<(String, Unnamed)>,
    /// The new segments of every trial whose rows moved, with its id; those of one trial and table side by side, in order.
    pub segments: Vec<(Arc<str>, Table, Segment)>,
    /// The number of the next sealed part.
    pub next_part: u64,
}

/// A hash of everything that the tables are made from, besides the rows themselves.
pub(crate) fn layout_digest(plan: &Plan, columns: &Columns, manifest: &Manifest) -> String {
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
    for (owner, record) in covered(plan, manifest) {
        add(owner.id.as_bytes());
        for value in owner.axes {
            match value {
                None => add(b"-"),
                Some(AxisValue::Text(text)) => add(format!("t{text}").as_bytes()),
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

/// Whether `metrics/` and `evals/` hold exactly what `plan` covers, so that nothing need be written.
pub(crate) fn is_compacted(plan: &Plan, digest: &str, manifest: &Manifest) -> bool {
    manifest.layout.as_deref() == Some(digest)
        && covered(plan, manifest).all(|(_, record)| {
            [Table::Metrics, Table::Evals]
                .into_iter()
                .all(|table| record.segments(table).iter().all(|segment| segment.is_compacted(table)))
        })
}

/// The trials that the tables hold, in order.
fn covered<'a>(plan: &'a Plan, manifest: &'a Manifest) -> impl Iterator<Item = (Owner<'a>, &'a TrialRecord)> {
    plan.trials.iter().filter_map(|trial| {
        let record = manifest.trials.get(&trial.id).filter(|record| record.status.is_done())?;
        Some((Owner { id: &trial.id, axes: &trial.axes }, record))
    })
}

/// Writes the tables anew, and moves rows of trials that `plan` no longer covers out of the old ones into parts.
pub(crate) fn compact(
    folder: &Path,
    plan: &Plan,
    columns: &Columns,
    manifest: &Manifest,
    tables: Cut,
    parts: Cut,
) -> Result<Compaction, StoreError> {
    let mut compaction = Compaction { files: Vec::new(), segments: Vec::new(), next_part: manifest.next_part };
    let mut sources = Sources::new(folder, manifest);
    let ids: HashSet<&str> = plan.trials.iter().map(|trial| &*trial.id).collect();
    for table in [Table::Metrics, Table::Evals] {
        let layout = columns.layout(table);
        let directory = folder.join(table.name());
        let trials = covered(plan, manifest).map(|(owner, record)| (owner, record.segments(table)));
        let name = |index: usize, file: &Unnamed| {
            // Named by content, so that new files stand beside the old ones until the manifest has changed.
            format!("{}/{index:05}-{}.parquet", table.name(), &file.entry.blake3[..12])
        };
        compaction.write(&mut sources, &layout, &directory, tables, trials, name)?;

        let mut retained: BTreeMap<&str, Vec<(&Arc<str>, &Segment)>> = BTreeMap::new();
        for (id, record) in manifest.trials.iter().filter(|(id, _)| !ids.contains(&***id)) {
            for segment in record.segments(table).iter().filter(|segment| segment.is_compacted(table)) {
                retained.entry(&segment.0).or_default().push((id, segment));
            }
        }
        let directory = folder.join("parts");
        for (file, trials) in retained {
            let layout = Layout::new(table, Vec::new(), sources.values(file)?);
            let owned =
                trials.into_iter().map(|(id, segment)| (Owner { id, axes: &[] }, std::slice::from_ref(segment)));
            let number = compaction.next_part;
            compaction.next_part += 1;
            let name = |_, _: &Unnamed| part_name(table, number);
            compaction.write(&mut sources, &layout, &directory, parts, owned, name)?;
        }
    }
    // Rows of one trial may have come out of several old files.
    compaction.segments.sort_by(|(a, of_a, _), (b, of_b, _)| (a, of_a).cmp(&(b, of_b)));
    Ok(compaction)
}

/// The path of a sealed part.
pub(crate) fn part_name(table: Table, number: u64) -> String {
    format!("parts/{}-{number:06}.parquet", table.name())
}

impl Compaction {
    /// Copies the segments of `trials`, in order, to new files in `directory`.
    fn write<'a>(
        &mut self,
        sources: &mut Sources<'a>,
        layout: &Layout,
        directory: &Path,
        cut: Cut,
        trials: impl Iterator<Item = (Owner<'a>, &'a [Segment])>,
        name: impl Fn(usize, &Unnamed) -> String,
    ) -> Result<(), StoreError> {
        let mut writer = TableWriter::new(layout, directory, cut);
        let mut moved: Vec<(&Arc<str>, Range<u64>)> = Vec::new();
        for (owner, segments) in trials {
            for segment in segments {
                sources.read(segment, &layout.values, |values| {
                    let range = writer.push(owner, values)?;
                    match moved.last_mut() {
                        Some((id, last)) if *id == owner.id && last.end == range.start => last.end = range.end,
                        _ => moved.push((owner.id, range)),
                    }
                    Ok(())
                })?;
            }
        }
        let mut start = 0;
        let mut named: Vec<(Arc<str>, Range<u64>)> = Vec::new();
        for (index, file) in writer.finish()?.into_iter().enumerate() {
            let name = name(index, &file);
            named.push((name.as_str().into(), start..start + file.entry.rows));
            start += file.entry.rows;
            self.files.push((name, file));
        }
        for (id, range) in moved {
            self.segments.extend(locate(&named, &range).map(|segment| (Arc::clone(id), layout.table, segment)));
        }
        Ok(())
    }
}

/// Cuts a range of rows, counted over all files, at the files' ends. Of each file: its name, and which rows it has.
fn locate<'f>(files: &'f [(Arc<str>, Range<u64>)], range: &Range<u64>) -> impl Iterator<Item = Segment> + use<'f> {
    let range = range.clone();
    let from = files.partition_point(|(_, rows)| rows.end <= range.start);
    files[from..].iter().map_while(move |(name, rows)| {
        let (first, last) = (range.start.max(rows.start), range.end.min(rows.end));
        (first < last).then(|| Segment(Arc::clone(name), first - rows.start, last - first))
    })
}
