//! Adapters within a model folder: `adapters/NAME/`, and the list of active adapters.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::adapters::check_name;
use crate::adapters::folder::CONFIG_FILE;
use crate::adapters::{hub, peft};
use crate::config::fields::{Fields, shorten};
use crate::config::json_file::{read_json, write_json};
use crate::folder::save::remove_file;
use crate::{Error, Head, Model, Result};

const FOLDER_NAME: &str = "adapters";
const LIST_FILE: &str = "active.json";
/// All files that saving may write to an adapter's folder.
const ADAPTER_FILES: [&str; 5] =
    [CONFIG_FILE, peft::WEIGHTS_FILE, hub::WEIGHTS_FILE, hub::FUSION_CONFIG_FILE, hub::FUSION_FILE];

impl Model {
    /// Loads the adapters in a model's folder, and activates the adapters that were active when the
    /// model was saved.
    pub(crate) fn load_saved_adapters(&mut self, folder: &Path) -> Result<()> {
        let Some(list) = AdapterList::read(folder)? else { return Ok(()) };
        let Some(active) = &list.active else {
            let actual = "null: saving was interrupted; save the model again";
            return Err(Error::config(&list.file(), "active", NAME_LIST, actual));
        };
        // Fusions are loaded after the adapters that they combine.
        let (fusions, single_adapters): (Vec<_>, Vec<_>) =
            list.adapters.iter().partition(|name| name.contains(','));
        for name in single_adapters {
            self.load_adapter(name, list.folder.join(name), Head::None)?;
        }
        for name in fusions {
            let folder = list.folder.join(name);
            let names = self.load_adapter_fusion(&folder)?.join(",");
            if names != *name {
                let file = folder.join(hub::FUSION_CONFIG_FILE).display().to_string();
                return Err(Error::config(&file, "adapter_names", name, names));
            }
        }
        let active: Vec<&str> = active.iter().map(String::as_str).collect();
        self.set_active_adapters(&active).map_err(|error| list.key_error("active", error))
    }

    /// Writes a list without active adapters, so that the folder cannot be loaded before the save
    /// is complete. Returns the names of the adapters of an earlier save; `None` if the folder has
    /// no list.
    pub(crate) fn begin_saving_adapters(&self, folder: &Path) -> Result<Option<BTreeSet<String>>> {
        let earlier_names = AdapterList::read(folder)?.map(|list| list.adapters);
        if earlier_names.is_some() || !self.adapters.is_empty() {
            let mut list = AdapterList::new(folder, self);
            list.adapters.extend(earlier_names.iter().flatten().cloned());
            list.write()?;
        }
        Ok(earlier_names)
    }

    /// Removes the files that an earlier save wrote, and no other files, then writes the adapters.
    /// If `main_head` is [`Head::None`], parameter names lack the encoder's prefix, as in
    /// transformers' bare encoders. The list of active adapters is written last.
    pub(crate) fn finish_saving_adapters(
        &self,
        folder: &Path,
        earlier_names: Option<BTreeSet<String>>,
        main_head: Head,
    ) -> Result<()> {
        let mut list = AdapterList::new(folder, self);
        for name in earlier_names.iter().flatten() {
            let adapter_folder = list.folder.join(name);
            // Links are skipped, because their targets do not belong to this folder.
            if fs::symlink_metadata(&adapter_folder).is_ok_and(|metadata| metadata.is_dir()) {
                for file in ADAPTER_FILES {
                    remove_file(&adapter_folder.join(file))?;
                }
                remove_if_empty(&adapter_folder)?;
            }
        }
        if list.adapters.is_empty() {
            if earlier_names.is_some() {
                remove_file(&list.folder.join(LIST_FILE))?;
                remove_if_empty(&list.folder)?;
            }
            return Ok(());
        }
        // For a masked-LM head, an adapter's parameter names have the encoder's prefix, and none of
        // the head's weights are written with the adapter. This is correct for every head, because
        // `heads.safetensors` and `model.safetensors` contain the heads.
        let head = if main_head == Head::None { Head::None } else { Head::MaskedLm };
        for name in &list.adapters {
            self.write_adapter(name, &list.folder.join(name), head)?;
        }
        list.active = Some(self.active_adapters().to_vec());
        list.write()
    }
}

const NAME_LIST: &str = "a list of adapters' names";

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
        Self { folder: folder.join(FOLDER_NAME), adapters, active: None }
    }

    /// Reads the list in a model's folder; `None` if no model with adapters was saved there.
    fn read(folder: &Path) -> Result<Option<Self>> {
        let folder = folder.join(FOLDER_NAME);
        let path = folder.join(LIST_FILE);
        if !atomic_file::fs::exists(&path)? {
            return Ok(None);
        }
        let file = path.display().to_string();
        let mut fields = Fields::new(read_json(&path, "")?, &file)?;
        let adapters: Option<BTreeSet<String>> = fields.take("adapters", NAME_LIST, None)?;
        let adapters =
            adapters.ok_or_else(|| fields.error("adapters", NAME_LIST, "none".into()))?;
        let active = fields.take("active", NAME_LIST, None)?;
        if let Some((key, value)) = fields.remaining()?.into_iter().next() {
            return Err(Error::config(&file, key, "only adapters and active", shorten(&value)));
        }
        let list = Self { folder, adapters, active };
        for name in &list.adapters {
            let result = name.split(',').try_for_each(check_name);
            result.map_err(|error| list.key_error("adapters", error))?;
        }
        Ok(Some(list))
    }

    fn write(&self) -> Result<()> {
        atomic_file::fs::create_dir_all(&self.folder)?;
        let value: Value = json!({"adapters": self.adapters, "active": self.active});
        write_json(&self.folder.join(LIST_FILE), &value)
    }

    fn file(&self) -> String {
        self.folder.join(LIST_FILE).display().to_string()
    }

    /// Converts the error of an invalid argument to an error of `key` in the file.
    fn key_error(&self, key: &str, error: Error) -> Error {
        match error {
            Error::Input { expected, got, .. } => Error::config(&self.file(), key, expected, got),
            error => error,
        }
    }
}

fn remove_if_empty(folder: &Path) -> Result<()> {
    match atomic_file::fs::read_dir(folder)?.next() {
        None => Ok(atomic_file::fs::remove_dir(folder)?),
        Some(_) => Ok(()),
    }
}
