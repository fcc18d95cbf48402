//! Adapters within a model folder: `adapters/NAME/`, and the list of active ones.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::adapter_folder::CONFIG;
use crate::adapters::check_name;
use crate::fields::{Fields, brief};
use crate::json_file::{read_json, write_json};
use crate::save::remove_file;
use crate::{Error, Head, Model, Result, adapter_hub, peft};

const FOLDER: &str = "adapters";
const ACTIVE: &str = "active.json";
/// All files that a save may write to an adapter's folder.
const FILES: [&str; 5] =
    [CONFIG, peft::WEIGHTS, adapter_hub::WEIGHTS, adapter_hub::FUSION_CONFIG, adapter_hub::FUSION];

impl Model {
    /// Loads the adapters in a model's folder and activates the ones that were active on saving.
    pub(crate) fn load_saved_adapters(&mut self, folder: &Path) -> Result<()> {
        let Some(saved) = AdapterList::read(folder)? else { return Ok(()) };
        let Some(active) = &saved.active else {
            let actual = "null: saving was interrupted; save the model again";
            return Err(Error::config(&saved.file(), "active", NAMES, actual));
        };
        // Fusions are loaded after the adapters that they combine.
        let (fusions, single_adapters): (Vec<_>, Vec<_>) =
            saved.adapters.iter().partition(|name| name.contains(','));
        for name in single_adapters {
            self.load_adapter(name, saved.folder.join(name), Head::None)?;
        }
        for name in fusions {
            let folder = saved.folder.join(name);
            let names = self.load_adapter_fusion(&folder)?.join(",");
            if names != *name {
                let file = folder.join(adapter_hub::FUSION_CONFIG).display().to_string();
                return Err(Error::config(&file, "adapter_names", name, names));
            }
        }
        let active: Vec<&str> = active.iter().map(String::as_str).collect();
        self.set_active(&active).map_err(|error| saved.key_error("active", error))
    }

    /// Marks a model's folder as being saved, so that an incomplete save cannot be loaded. Returns
    /// the names of the adapters of an earlier save.
    pub(crate) fn begin_saving_adapters(&self, folder: &Path) -> Result<Option<BTreeSet<String>>> {
        let earlier_names = AdapterList::read(folder)?.map(|saved| saved.adapters);
        if earlier_names.is_some() || !self.adapters.is_empty() {
            let mut saved = AdapterList::new(folder, self);
            saved.adapters.extend(earlier_names.iter().flatten().cloned());
            saved.write()?;
        }
        Ok(earlier_names)
    }

    /// Removes only the files of an earlier save, then writes the adapters. Parameter names follow
    /// the transformers class of `architecture`. The list of active adapters is written last.
    pub(crate) fn finish_saving_adapters(
        &self,
        folder: &Path,
        earlier_names: Option<BTreeSet<String>>,
        architecture: Head,
    ) -> Result<()> {
        let mut saved = AdapterList::new(folder, self);
        for name in earlier_names.iter().flatten() {
            let folder_of_adapter = saved.folder.join(name);
            // The target of a link does not belong to this folder.
            if fs::symlink_metadata(&folder_of_adapter).is_ok_and(|data| data.is_dir()) {
                for file in FILES {
                    remove_file(&folder_of_adapter.join(file))?;
                }
                remove_if_empty(&folder_of_adapter)?;
            }
        }
        if saved.adapters.is_empty() {
            if earlier_names.is_some() {
                remove_file(&saved.folder.join(ACTIVE))?;
                remove_if_empty(&saved.folder)?;
            }
            return Ok(());
        }
        // Parameter names are those of a class with a head, but no weights of a head are written.
        let class = if architecture == Head::None { Head::None } else { Head::MaskedLm };
        for name in &saved.adapters {
            self.write_adapter(name, &saved.folder.join(name), class)?;
        }
        saved.active = Some(self.active_adapters().to_vec());
        saved.write()
    }
}

const NAMES: &str = "a list of adapters' names";

/// Contents of `adapters/active.json`.
struct AdapterList {
    /// `adapters/`
    folder: PathBuf,
    adapters: BTreeSet<String>,
    /// Active adapters in order; `None` until all adapters are written.
    active: Option<Vec<String>>,
}

impl AdapterList {
    fn new(folder: &Path, model: &Model) -> Self {
        let adapters = model.adapters().map(str::to_owned).collect();
        Self { folder: folder.join(FOLDER), adapters, active: None }
    }

    /// Reads the list in a model's folder; `None` if no model with adapters was saved there.
    fn read(folder: &Path) -> Result<Option<Self>> {
        let folder = folder.join(FOLDER);
        let path = folder.join(ACTIVE);
        if !path.try_exists().map_err(|error| Error::io(&path, error))? {
            return Ok(None);
        }
        let file = path.display().to_string();
        let mut fields = Fields::new(read_json(&path, "")?, &file)?;
        let adapters: Option<BTreeSet<String>> = fields.take("adapters", NAMES, None)?;
        let adapters = adapters.ok_or_else(|| fields.refuse("adapters", NAMES, "none".into()))?;
        let active = fields.take("active", NAMES, None)?;
        if let Some((key, value)) = fields.remaining()?.into_iter().next() {
            return Err(Error::config(&file, key, "only adapters and active", brief(&value)));
        }
        let saved = Self { folder, adapters, active };
        for name in &saved.adapters {
            let checked = name.split(',').try_for_each(check_name);
            checked.map_err(|error| saved.key_error("adapters", error))?;
        }
        Ok(Some(saved))
    }

    fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        let value: Value = json!({"adapters": self.adapters, "active": self.active});
        write_json(&self.folder.join(ACTIVE), &value)
    }

    fn file(&self) -> String {
        self.folder.join(ACTIVE).display().to_string()
    }

    /// Converts an argument's error to an error of a key of the file.
    fn key_error(&self, key: &str, error: Error) -> Error {
        match error {
            Error::Input { expected, got, .. } => Error::config(&self.file(), key, expected, got),
            other => other,
        }
    }
}

fn remove_if_empty(folder: &Path) -> Result<()> {
    let io = |error| Error::io(folder, error);
    match fs::read_dir(folder).map_err(io)?.next() {
        None => fs::remove_dir(folder).map_err(io),
        Some(_) => Ok(()),
    }
}
