//! Datasets: a name to labelled uint8 images, whatever format they were found in.
//!
//! A name is looked for below some roots ([`search`]), decoded by the module of the format that was found, put into
//! canonical order ([`canonical`]) and kept in a cache file that later calls map into memory ([`cache`]).

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use clr_spec::{DatasetQuery, Fit};

mod arrays;
mod assemble;
pub mod cache;
pub mod canonical;
mod cifar;
pub mod cifar_binary;
pub mod cifar_python;
mod container;
pub mod decoded;
mod error;
pub mod fetch;
#[doc(hidden)]
pub mod fixtures;
pub mod idx;
mod image;
mod image_folder;
mod image_table;
mod key;
pub mod map;
pub mod order;
#[cfg(test)]
mod own_tests;
pub mod parquet_images;
mod pickle;
pub mod places;
mod samples;
pub mod search;
mod shapes;
mod shards;
mod sheet;
mod spool;
#[cfg(test)]
mod tests;
pub mod transforms;
mod well_known;

pub use assemble::Survey;
pub use cache::Check;
use cache::Unusable;
pub use cifar::Cifar;
pub use error::{DatasetError, Place};
pub use samples::{Bytes, Dataset, Samples};
pub use sheet::contact_sheet;
pub use well_known::{WellKnown, info, well_known};

/// Opens the dataset `name`, as it is: one of [`well_known`], or one below one of the `roots`, or a path.
///
/// # Errors
///
/// As [`open_query`].
pub fn open(name: &str, roots: &[PathBuf], cache_dir: Option<&Path>) -> Result<Dataset, DatasetError> {
    let places = Places { folder: Path::new(""), roots, cache: cache_dir };
    open_query(&DatasetQuery::named(name), places, Check::All)
}

/// Where datasets are looked for and kept.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Paths are relative to it: the folder of the spec.
    pub folder: &'a Path,
    /// Names are looked for below these.
    pub roots: &'a [PathBuf],
    /// Decoded sets are kept here.
    pub cache: Option<&'a Path>,
}

/// The share of images that become the test set where the files have none, and nothing else is asked for.
pub const TEST_SHARE: f64 = 0.2;

/// Opens a dataset, and brings its images to the size that is asked for.
///
/// The first find in the order of the roots is taken ([`search::find`] says where it looks). It is decoded once into
/// a file in the cache, of which every byte is checked each time unless `check` says that another process has done so; with no
/// cache, or where nothing can be written, it is decoded into memory each time.
/// [`places`] has the roots and the cache folder that the environment asks for.
///
/// Where the files have no test set, a share of each class becomes it.
///
/// # Errors
///
/// Where nothing was found: all places that were looked at. Where a file is malformed: which, where, what was
/// expected and what was found. A well-known name must have its published sizes and counts; any other set images of at
/// least two classes, numbered from 0 without a gap unless its files name the classes.
pub fn open_query(query: &DatasetQuery, places: Places<'_>, check: Check<'_>) -> Result<Dataset, DatasetError> {
    let name = &query.name;
    let source = search::locate(query, places.folder, places.roots)?;
    let cache = match places.cache {
        Some(folder) => cache::Entry::new(folder, query, &source, SystemTime::now())?,
        None => None,
    };
    let mut notes = Vec::new();
    let started = Instant::now();
    if let Some(cache) = &cache {
        match cache.read(check) {
            Ok(dataset) => {
                tracing::debug!(dataset = name, folder = ?places.cache, took = ?started.elapsed(), "taken from the cache");
                return Ok(Dataset { name: name.clone(), ..dataset });
            }
            Err(Unusable::Absent) => {}
            Err(Unusable::NoRoom(error)) => return Err(cache.unreadable(error)),
            Err(Unusable::Damaged(what)) => {
                tracing::warn!(dataset = name, what, "the cache is damaged");
                notes.push(format!("the decoded dataset in the cache was damaged, and is decoded again: {what}"));
            }
        }
        cache.look()?;
    }
    let started = Instant::now();
    let dataset = clr_system::threads::install(|| decode(query, &source))?;
    tracing::debug!(dataset = name, took = ?started.elapsed(), "decoded");
    notes.extend(dataset.remarks.iter().map(|remark| format!("{name}: {remark}")));
    // A cache that cannot be written is no failure: the set is in memory already.
    let cached = cache.and_then(|cache| cache.write(&dataset).ok().and_then(|()| cache.read(check).ok()));
    Ok(Dataset { notes, name: name.clone(), ..cached.unwrap_or(dataset) })
}

fn decode(query: &DatasetQuery, source: &search::Source) -> Result<Dataset, DatasetError> {
    let DatasetQuery { name, fit, test_share } = query;
    let shown = source.to_string();
    let mut decoded = match info(name) {
        // Its published size is what it has before it is made to fit.
        Some(known) => {
            let decoded = source.decode(name, &Fit::default())?;
            known.check(&decoded, source)?;
            decoded.fitted(fit, &shown)?
        }
        None => source.decode(name, fit)?,
    };
    decoded.check_classes(&shown)?;
    match test_share {
        None if decoded.test.labels.is_empty() => {
            decoded.hold_out(TEST_SHARE)?;
            decoded.notes.push(format!(
                "there is no test set: {} images, {}% of each class, were held out as one (`data.test_share` sets the share)",
                decoded.test.labels.len(),
                100.0 * TEST_SHARE
            ));
        }
        Some(share) if decoded.test.labels.is_empty() => decoded.hold_out(f64::from(*share) / 1e6)?,
        Some(_) => {
            let expected =
                "no test set of its own, since `data.test_share` asks for one to be taken off the training images";
            let found = format!("{} test images", decoded.test.labels.len());
            return Err(DatasetError::malformed(shown, Place::File, expected, found));
        }
        None => {}
    }
    canonical::dataset(name, &shown, decoded)
}
