//! Modified copies of model folders, moved into place when complete.
use std::fs;
use std::path::{Path, PathBuf};

use tch::Tensor;
use torch_ext::TensorFile;

use crate::adapters::folder::CONFIG_FILE;
use crate::folder::checkpoint::{HEADS_FILE, INDEX_FILE, weight_files};
use crate::{Error, Result};

/// Copies the model folder `from` to `out`. The weights, hidden files, and the files for whose path
/// and name `is_skipped` returns true are not copied; `add_files` writes new files to the copy. If
/// `replace`, the copy may replace another model folder at `out`.
pub(crate) fn write<R>(
    from: &Path,
    out: &Path,
    replace: bool,
    is_skipped: &dyn Fn(&Path, &str) -> bool,
    add_files: impl FnOnce(&Path) -> Result<R>,
) -> Result<R> {
    let adapter = from.join(CONFIG_FILE);
    if adapter.exists() {
        let reason = "belongs to an adapter that is not merged into the weights; merge it in PEFT \
                      (`model.merge_and_unload().save_pretrained(DIR)`)";
        return Err(Error::damaged(&adapter, reason));
    }
    if out.exists() {
        check_output_folder(from, out, replace)?;
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    atomic_file::fs::create_dir_all(parent)?;
    let temporary_folder = atomic_file::fs::temporary_dir(parent, ".model-")?;
    let new_folder = temporary_folder.path().join("model");
    copy_unless(
        &|path, name| is_weights_or_hidden(path, name) || is_skipped(path, name),
        from,
        &new_folder,
    )?;
    let result = add_files(&new_folder)?;
    let old_folder = temporary_folder.path().join("former");
    let replaces_old = out.exists();
    if replaces_old {
        fs::rename(out, &old_folder).map_err(|error| Error::io(out, error))?;
    }
    if let Err(error) = atomic_file::fs::rename(&new_folder, out) {
        if replaces_old {
            // The old model is moved back, because it would be deleted with the temporary folder.
            atomic_file::fs::rename(&old_folder, out)?;
        }
        return Err(error.into());
    }
    atomic_file::sync_folder_of(out)?;
    Ok(result)
}

/// Names and values of tensors to write.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// Writes the weights of `from` to the file `name` in `new_folder`. The tensors of
/// `heads.safetensors`, if `from` has this file, are written to a new `heads.safetensors`.
/// `convert` reads a tensor by its name and appends the tensors that replace it. Returns the total
/// size in bytes of the original files, and the total size of the new files.
pub(crate) fn write_weights(
    from: &Path,
    new_folder: &Path,
    name: &str,
    mut convert: impl FnMut(&TensorFile, &str, &mut Tensors) -> Result<()>,
) -> Result<(u64, u64)> {
    let (mut bytes_before, mut bytes) = (0, 0);
    let heads = from.join(HEADS_FILE);
    let heads: Vec<PathBuf> = heads.is_file().then_some(heads).into_iter().collect();
    for (name, files) in [(name, weight_files(from)?.into_keys().collect()), (HEADS_FILE, heads)] {
        let mut tensors = Tensors::new();
        for path in &files {
            let file = TensorFile::open(path)?;
            file.names().iter().try_for_each(|name| convert(&file, name, &mut tensors))?;
            bytes_before += file_size(path)?;
        }
        if files.is_empty() {
            continue;
        }
        let path = new_folder.join(name);
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        torch_ext::write_tensors(&path, named, &[("format", "pt")])?;
        bytes += file_size(&path)?;
    }
    Ok((bytes_before, bytes))
}

fn file_size(path: &Path) -> Result<u64> {
    Ok(atomic_file::fs::metadata(path)?.len())
}

/// Returns an error if `out` may not be replaced, is not a model folder, or is, contains or is
/// inside the original model's folder.
fn check_output_folder(model: &Path, out: &Path, replace: bool) -> Result<()> {
    let refuse = |kind: std::io::ErrorKind, hint| {
        Err(Error::Io { path: out.to_owned(), hint, source: kind.into() })
    };
    if !replace {
        let hint = "; give another --out, or replace it with --force";
        return refuse(std::io::ErrorKind::AlreadyExists, hint);
    }
    let [model, replaced] = [model, out].map(atomic_file::fs::canonicalize);
    let (model, replaced) = (model?, replaced?);
    if model.starts_with(&replaced) || replaced.starts_with(&model) {
        let hint = "; --out must not be the folder of --model";
        return refuse(std::io::ErrorKind::InvalidInput, hint);
    }
    if !out.join("config.json").is_file() {
        let hint = "; --force only replaces model folders, and this folder has no config.json";
        return refuse(std::io::ErrorKind::AlreadyExists, hint);
    }
    Ok(())
}

/// File extensions of weights in formats other than safetensors. [`OTHER_FOLDERS`] are names of
/// folders with such weights.
const OTHER_FORMATS: [&str; 8] = ["bin", "h5", "msgpack", "ot", "onnx", "onnx_data", "pt", "ckpt"];
const OTHER_FOLDERS: [&str; 2] = ["onnx", "openvino"];

fn is_weights_or_hidden(path: &Path, name: &str) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    name.starts_with('.')
        || (name.starts_with("model") && extension == "safetensors")
        || OTHER_FORMATS.contains(&extension)
        || OTHER_FOLDERS.contains(&name)
        || [INDEX_FILE, HEADS_FILE].contains(&name)
}

fn copy_unless(is_skipped: &dyn Fn(&Path, &str) -> bool, from: &Path, to: &Path) -> Result<()> {
    atomic_file::fs::create_dir_all(to)?;
    for entry in atomic_file::fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_skipped(&path, name) {
            continue;
        }
        if path.is_dir() {
            copy_unless(&|_, _| false, &path, &to.join(name))?;
        } else {
            let copy = to.join(name);
            fs::copy(&path, &copy).map_err(|error| {
                // A full disk is a problem of the copy.
                let failed = if fs::File::open(&path).is_ok() { &copy } else { &path };
                Error::io(failed, error)
            })?;
        }
    }
    Ok(())
}
