//! Models of steps along the way: the parameters that stages kept become model folders.
use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, no_grad};
use torch_ext::read_tensors;
use xlmr_model::{Config, LoadOptions, Pretrained};

use crate::{Error, Result};

/// Makes a model folder `step-<step>` of each `<stage>/models/step-<step>.safetensors` in a cell's
/// folder, and removes the file. Architecture and tokenizer are those of the model that training
/// left, the first of `trained` that exists.
pub(crate) fn write_kept_models(cell: &Path, trained: &[PathBuf]) -> Result<()> {
    for stage in entries(cell)? {
        let models = stage.join("models");
        if !models.is_dir() {
            continue;
        }
        for file in entries(&models)? {
            if file.extension().is_some_and(|extension| extension == "safetensors") {
                let trained = trained.iter().find(|folder| folder.is_dir()).ok_or_else(|| {
                    Error::content(&file, "no model/ beside it says which model this is of")
                })?;
                write_model(trained, &file, &file.with_extension(""))?;
                fs::remove_file(&file).map_err(Error::file(&file))?;
            }
        }
    }
    Ok(())
}

/// Saves the model of `trained` with the parameters of `file` instead of its own.
fn write_model(trained: &Path, file: &Path, folder: &Path) -> Result<()> {
    let head = Config::from_file(trained.join("config.json"))?.head()?;
    let (loaded, _) = Pretrained::load(trained, &[head], Device::Cpu, LoadOptions::default())?;
    let kept = read_tensors(file)?;
    for (name, mut parameter) in loaded.model.named_parameters() {
        let tensor = kept.get(&name).filter(|tensor| tensor.size() == parameter.size());
        let tensor = tensor.ok_or_else(|| {
            let shape = format!("{name}: expected {:?}", parameter.size());
            Error::content(file, format!("{shape}, as in {}", trained.display()))
        })?;
        no_grad(|| parameter.f_copy_(tensor))
            .map_err(|error| Error::content(file, format!("{name}: {error}")))?;
    }
    Ok(loaded.save(folder, head)?)
}

/// The paths in a folder, in the order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        paths.push(entry.map_err(Error::file(folder))?.path());
    }
    paths.sort();
    Ok(paths)
}
