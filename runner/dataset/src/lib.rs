//! Datasets: a name to labelled uint8 images, whatever format they were found in.
//!
//! A name is looked for below some roots ([`search`]), decoded by the module of the format that was found, put into
//! canonical order ([`canonical`]) and kept in a cache file that later calls map into memory ([`cache`]).

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

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
pub mod map;
pub mod order;
pub mod parquet_images;
mod pickle;
pub mod places;
mod png_image;
mod samples;
pub mod search;
mod shapes;
#[cfg(test)]
mod tests;
pub mod transforms;
mod well_known;

pub use cache::Check;
use cache::Unusable;
pub use cifar::Cifar;
pub use error::{DatasetError, Place};
pub use samples::{Bytes, Dataset, Samples};
pub use well_known::{WellKnown, info, well_known};

/// Opens the dataset `name`: one of [`well_known`], or a folder `name` of Parquet shards below one of the `roots`.
///
/// The first find in the order of the roots is taken ([`search::find`] says where it looks). It is decoded once into
/// a file in `cache_dir`, of which every byte is checked each time; with no `cache_dir`, or where nothing can be written, it
/// is decoded into memory each time.
/// [`places`] has the roots and the cache folder that the environment asks for.
///
/// # Errors
///
/// Where nothing was found: all places that were looked at. Where a file is malformed: which, where, what was
/// expected and what was found. A well-known name must have its published sizes and counts; any other set images of at
/// least two classes, numbered from 0 without a gap unless its files name the classes.
pub fn open(name: &str, roots: &[PathBuf], cache_dir: Option<&Path>) -> Result<Dataset, DatasetError> {
    open_checking(name, roots, cache_dir, Check::All)
}

/// As [`open`], for a process that need not check all of a cached set.
pub fn open_checking(
    name: &str,
    roots: &[PathBuf],
    cache_dir: Option<&Path>,
    check: Check<'_>,
) -> Result<Dataset, DatasetError> {
    let source = search::find(name, roots)?;
    let cache = match cache_dir {
        Some(folder) => cache::Entry::new(folder, name, &source, SystemTime::now())?,
        None => None,
    };
    let mut notes = Vec::new();
    let started = Instant::now();
    if let Some(cache) = &cache {
        match cache.read(check) {
            Ok(dataset) => {
                tracing::debug!(dataset = name, folder = ?cache_dir, took = ?started.elapsed(), "taken from the cache");
                return Ok(dataset);
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
    let dataset = clr_system::threads::install(|| -> Result<Dataset, DatasetError> {
        let decoded = source.decode(name)?;
        if let Some(known) = info(name) {
            known.check(&decoded, &source)?;
        }
        decoded.check_classes(&source.to_string())?;
        Ok(canonical::dataset(name, &source.to_string(), decoded))
    })?;
    tracing::debug!(dataset = name, took = ?started.elapsed(), "decoded");
    // A cache that cannot be written is no failure: the set is in memory already.
    let cached = cache.and_then(|cache| cache.write(&dataset).ok().and_then(|()| cache.read(check).ok()));
    Ok(Dataset { notes, ..cached.unwrap_or(dataset) })
}
