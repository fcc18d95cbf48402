//! Run folders: a resolved recipe, fingerprints of the input files, and parts that are computed once.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fingerprint;
use crate::machine::Machine;
use crate::results::{read_json, write_json};

/// A recipe as far as its run folder is concerned. Parts of the run lie in `seed-<seed>` below it.
pub trait RunRecipe: Serialize + DeserializeOwned + PartialEq {
    /// Checks every value before anything is written.
    ///
    /// # Errors
    /// Naming the key.
    fn validate(&self) -> Result<()>;

    /// The keys that decide a part's result; a run may go on with other values of the rest.
    fn decisive(&self) -> Self;

    /// Every file that a run reads.
    ///
    /// # Errors
    /// Naming a folder that cannot be read.
    fn files(&self) -> Result<Vec<PathBuf>>;

    /// Device, threads and kernels.
    ///
    /// # Errors
    /// As for [`Machine::set_up`].
    fn machine(&self) -> Result<Machine>;
}

/// Starts a run in `folder`, or goes on with the one that is there if recipe and files are the same.
///
/// # Errors
/// If the recipe cannot be used or the folder holds a run of another one.
pub fn open<R: RunRecipe>(recipe: &R, folder: &Path) -> Result<Machine> {
    recipe.validate()?;
    let (path, record) = (folder.join("recipe.toml"), folder.join("fingerprints.json"));
    let begun = begun(folder)?;
    if begun && path.exists() {
        let earlier: R = crate::recipe::read(&path, &[])?;
        if earlier.decisive() != recipe.decisive() {
            bail!(
                "{} holds a run of another recipe; give another --out, or remove it",
                folder.display()
            );
        }
    }
    let machine = recipe.machine()?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    if !begun && record.exists() {
        // Nothing was computed from those files yet.
        fs::remove_file(&record).with_context(|| record.display().to_string())?;
    }
    fingerprint::check(&record, &recipe.files()?)?;
    crate::recipe::write(&path, recipe)?;
    Ok(machine)
}

/// Whether a part of a run lies in the folder.
fn begun(folder: &Path) -> Result<bool> {
    if !folder.exists() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry.with_context(|| folder.display().to_string())?.file_name();
        if name.to_string_lossy().starts_with("seed-") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The result of `place`, computed unless it is there already. The checkpoints of `stages` go once the result is written.
///
/// # Errors
/// If it cannot be computed, read or written.
pub fn once<T: Serialize + DeserializeOwned>(
    place: &Path,
    stages: &[&str],
    compute: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let path = place.join("result.json");
    if path.exists() {
        return read_json(&path);
    }
    fs::create_dir_all(place).with_context(|| place.display().to_string())?;
    let result = compute()?;
    write_json(&path, &result)?;
    for stage in stages {
        let checkpoints = place.join(stage).join("checkpoints");
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).with_context(|| checkpoints.display().to_string())?;
        }
    }
    Ok(result)
}

/// The files of `folder` whose names are `wanted`, sorted; folders in it are passed over.
///
/// # Errors
/// Naming the folder if it cannot be read.
pub fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let name = || folder.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(name)? {
        let path = entry.with_context(name)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_file() && wanted(name) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The weights, configuration and tokenizer of a model folder.
///
/// # Errors
/// Naming the folder if it cannot be read.
pub fn model_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, |name| name.ends_with(".safetensors") || name.ends_with(".json"))
}
