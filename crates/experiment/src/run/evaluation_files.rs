//! Output files of a trial's training and evaluation. The records in `trained.json` and
//! `result.json` contain the sizes of these files, to detect removed or truncated files. The module
//! also converts the parameters that training stages store permanently (`keep_models`) to model
//! folders.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, no_grad};
use torch_ext::read_tensors;
use xlmr_model::{Config, LoadOptions, Pretrained};

use crate::files::entries;
use crate::recipe::ADAPTER_DIR;
use crate::{Error, Result};

/// Bytes of each file, by its path in the run folder.
pub(crate) type FileSizes = BTreeMap<String, u64>;

/// The file that identifies the folder of a training stage.
const METRICS_FILE: &str = "metrics.jsonl";
/// The folder of the trained model.
const MODEL_DIR: &str = "model";

/// The sizes of the model's files in the trial's folder or, if the trial has no model, in the run
/// folder.
pub(crate) fn model_file_sizes(run: &Path, trial: &Path) -> Result<FileSizes> {
    let mut sizes = FileSizes::new();
    let folders = [trial.join(MODEL_DIR), run.join(MODEL_DIR)];
    if let Some(folder) = folders.iter().find(|folder| folder.is_dir()) {
        add_sizes(run, folder, &mut sizes)?;
    }
    Ok(sizes)
}

/// The sizes of the files in the trial's folders, except the folders of the model and of training
/// stages.
pub(crate) fn evaluation_file_sizes(run: &Path, trial: &Path) -> Result<FileSizes> {
    let mut sizes = FileSizes::new();
    for entry in entries(trial)? {
        let folder = entry.path();
        let is_model_or_adapter =
            [MODEL_DIR, ADAPTER_DIR].iter().any(|name| folder.ends_with(name));
        let is_training_output = is_model_or_adapter || folder.join(METRICS_FILE).exists();
        if folder.is_dir() && !is_training_output {
            add_sizes(run, &folder, &mut sizes)?;
        }
    }
    Ok(sizes)
}

/// Adds the sizes of the files below `folder` to `sizes`, except hidden files and links to folders.
fn add_sizes(run: &Path, folder: &Path, sizes: &mut FileSizes) -> Result<()> {
    for entry in entries(folder)? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = path.strip_prefix(run).expect("files of a trial are in the run folder");
        // Files of a run have UTF-8 names.
        let name = name.to_str();
        let Some(name) = name.filter(|_| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        else {
            continue;
        };
        if kind.is_dir() {
            add_sizes(run, &path, sizes)?;
        } else if let Ok(metadata) = fs::metadata(&path)
            && metadata.is_file()
        {
            sizes.insert(name.to_owned(), metadata.len());
        }
    }
    Ok(())
}

/// The path of the first file that was removed or has another size than in `sizes`, and a
/// description of the damage.
pub(crate) fn first_damaged_file(run: &Path, sizes: &FileSizes) -> Option<(PathBuf, String)> {
    sizes.iter().find_map(|(name, &size)| {
        let path = run.join(name);
        let description = match fs::metadata(&path) {
            Err(_) => "was removed since it was written".to_owned(),
            Ok(metadata) if metadata.len() == size => return None,
            Ok(metadata) => format!("has {} bytes, but {size} were written", metadata.len()),
        };
        Some((path, description))
    })
}

/// Converts each `<stage>/models/step-<step>.safetensors` in a trial's folder to a model folder
/// `step-<step>`. The architecture and the tokenizer are read from the first existing folder of
/// `bases`.
pub(crate) fn write_stored_models(trial: &Path, bases: &[PathBuf]) -> Result<()> {
    for stage in entries(trial)? {
        let models = stage.path().join("models");
        if !models.is_dir() {
            continue;
        }
        for entry in entries(&models)? {
            let file = entry.path();
            if file.extension().is_some_and(|extension| extension == "safetensors") {
                let base = bases.iter().find(|folder| folder.is_dir()).ok_or_else(|| {
                    Error::content(
                        &file,
                        "there is no folder model/ with its architecture and tokenizer",
                    )
                })?;
                write_model(base, &file, &file.with_extension(""))?;
                atomic_file::fs::remove_file(&file)?;
            }
        }
    }
    Ok(())
}

/// Saves the model of `model_folder` with the parameters of `file` to `folder`.
fn write_model(model_folder: &Path, file: &Path, folder: &Path) -> Result<()> {
    let head = Config::from_file(model_folder.join("config.json"))?.head()?;
    let (loaded, _) = Pretrained::load(model_folder, &[head], Device::Cpu, LoadOptions::default())?;
    let tensors = read_tensors(file)?;
    for (name, mut parameter) in loaded.model.named_parameters() {
        let tensor = tensors.get(&name).filter(|tensor| tensor.size() == parameter.size());
        let tensor = tensor.ok_or_else(|| {
            let shape = format!("{name}: expected {:?}", parameter.size());
            Error::content(file, format!("{shape}, as in {}", model_folder.display()))
        })?;
        no_grad(|| parameter.f_copy_(tensor))
            .map_err(|error| Error::content(file, format!("{name}: {error}")))?;
    }
    Ok(loaded.save(folder, head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_file(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn files_of_training_and_evaluation_are_checked_separately() {
        let folder = tempfile::tempdir().unwrap();
        let (run, trial) = (folder.path(), folder.path().join("seed-0/base"));
        for name in ["model/model.safetensors", "fit/metrics.jsonl", "predictions/de/test.json"] {
            write_file(trial.join(name), "1234");
        }
        for name in ["trained.json", "predictions/.writing-x"] {
            write_file(trial.join(name), "{}");
        }
        let (model, evaluation) =
            (model_file_sizes(run, &trial).unwrap(), evaluation_file_sizes(run, &trial).unwrap());
        assert_eq!(model, [("seed-0/base/model/model.safetensors".to_owned(), 4)].into());
        assert_eq!(evaluation, [("seed-0/base/predictions/de/test.json".to_owned(), 4)].into());
        assert_eq!(first_damaged_file(run, &evaluation), None);
        fs::remove_dir_all(trial.join("model")).unwrap();
        // A model that all trials of a run share.
        write_file(run.join("model/config.json"), "{}");
        assert_eq!(
            model_file_sizes(run, &trial).unwrap(),
            [("model/config.json".to_owned(), 2)].into()
        );
    }
}
