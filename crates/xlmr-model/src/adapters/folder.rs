//! Loading and saving of adapters: PEFT folders for LoRA and mixtures, AdapterHub folders for
//! bottlenecks.
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tch::Tensor;
use torch_ext::TensorFile;

use crate::adapters::adapter::{ADAPTER_PREFIX, AdapterConfig};
use crate::config::fields::{Fields, shorten};
use crate::config::json_file::read_json;
use crate::folder::stored::read_float;
use crate::heads::projection::copy_into;
use crate::layers::linear::find;
use crate::parameters::{Spec, head_specs};
use crate::{Error, Head, Model, Result};

/// The configuration file of both formats.
pub(crate) const CONFIG_FILE: &str = "adapter_config.json";

/// Tensors by their names in a model or in an output file.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

impl Model {
    /// Loads an adapter from a folder. The adapter is not [active](Self::set_active_adapters) yet.
    ///
    /// Supports folders written by [`save_adapter`](Self::save_adapter), PEFT's `save_pretrained`
    /// and, for bottlenecks, AdapterHub's `save_adapter` with `use_safetensors`, in F32, F16 or
    /// BF16.
    ///
    /// If the folder has weights for `head`, they replace the weights of the model's head
    /// regardless of which adapter is active. PEFT stores a head's weights as `modules_to_save`,
    /// AdapterHub in `model_head.safetensors`. [`Head::None`] loads an adapter without a head.
    ///
    /// # Errors
    /// Every error names the file, and the key or tensor if there is one. [`Error::Io`];
    /// [`Error::Json`]; [`Error::Config`] for an unsupported option, such as `use_dora`, or if the
    /// targets differ between layers; [`Error::TorchExt`] if the safetensors file is damaged;
    /// [`Error::Damaged`] if the safetensors file is absent or a tensor is missing or unexpected;
    /// [`Error::Stored`] for a tensor of the wrong shape, for example if the adapter was trained on
    /// another base model; [`Error::NoHead`]; [`Error::Input`] as for [`add_lora`](Self::add_lora).
    /// On error, the model does not change.
    pub fn load_adapter(&mut self, name: &str, folder: impl AsRef<Path>, head: Head) -> Result<()> {
        self.check_new_adapter(name)?;
        self.require_head(head)?;
        let folder = folder.as_ref();
        let path = folder.join(CONFIG_FILE);
        let file = path.display().to_string();
        let value = read_json(&path, "; an adapter's folder needs an adapter_config.json")?;
        let (config, tensors) = match value.get("config") {
            Some(_) => self.read_adapter_hub(name, folder, value, &file, head)?,
            None => self.read_peft(name, folder, value, &file, head)?,
        };
        let (adapter_tensors, head_tensors): (Tensors, Tensors) =
            tensors.into_iter().partition(|(name, _)| name.starts_with(ADAPTER_PREFIX));
        let parameters = self.plain_parameters();
        for (name, tensor) in head_tensors {
            copy_into(&find(&parameters, &name)?, &tensor)?;
        }
        self.insert_adapter(name, config, adapter_tensors)
    }

    /// Reads the tensors of all `specs`. A tensor's name in the file starts with `prefix`, and
    /// contains `stored_part` where its name in the model contains `local_part`. Returns an error
    /// if the file contains a tensor that is not in `specs`.
    pub(crate) fn read_tensors(
        &self,
        file: &TensorFile,
        specs: &[Spec],
        prefix: &str,
        (stored_part, local_part): (&str, &str),
    ) -> Result<Tensors> {
        let names = self.config().architecture.names();
        let mut unread_names = BTreeMap::new();
        for stored in file.names() {
            // Adapters of a bare encoder are stored without the encoder's prefix.
            let unprefixed = stored.strip_prefix(prefix);
            let name = unprefixed.map(|name| format!("{prefix}{}", names.add_prefix(name)));
            let name =
                name.map_or_else(|| stored.clone(), |name| name.replace(stored_part, local_part));
            if let Some(earlier) = unread_names.insert(name, stored) {
                return Err(Error::damaged(file.path(), format!("duplicate tensor {earlier}")));
            }
        }
        let mut tensors = BTreeMap::new();
        for spec in specs {
            let expected_name = format!("{prefix}{}", spec.stored_name());
            let Some(stored) = unread_names.remove(&expected_name) else {
                let reason = format!(
                    "lacks tensor {expected_name}, which {CONFIG_FILE} and the model require"
                );
                return Err(Error::damaged(file.path(), reason));
            };
            let source = "according to adapter_config.json and the model";
            let tensor = read_float(file, &stored, &spec.shape, self.device(), source)?;
            tensors.insert(spec.name.clone(), tensor);
        }
        match unread_names.into_values().next() {
            Some(unexpected) => {
                let reason =
                    format!("tensor {unexpected} belongs neither to the adapter nor to the head");
                Err(Error::damaged(file.path(), reason))
            }
            None => Ok(tensors),
        }
    }

    /// Saves an adapter in the format of PEFT (LoRA) or AdapterHub (bottleneck), in float32.
    ///
    /// A mixture of LoRA modules, which PEFT does not have, has PEFT's files with the `peft_type`
    /// "LORA_MIXTURE" and its options in the key `lora_mixture`.
    ///
    /// Writes the files that PEFT (`adapter_config.json`, `adapter_model.safetensors`) or
    /// AdapterHub (`adapter_config.json`, `adapter.safetensors`) writes for the transformers class
    /// of `head`. For PEFT, the head's weights are stored in `adapter_model.safetensors`. For
    /// AdapterHub, the head is stored in `head_config.json` and `model_head.safetensors`. A
    /// masked-LM head is not stored. Creates the folder if it is missing, and writes each file
    /// atomically.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no adapter of that name; [`Error::NoHead`]; [`Error::Io`];
    /// [`Error::TorchExt`]; [`Error::Torch`].
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Config, Head, LoraConfig, Model};
    ///
    /// let folder = std::env::temp_dir().join(format!("adapter-{}", std::process::id()));
    /// let (config, heads) = (Config::tiny(50), [Head::Span]);
    /// let mut model = Model::new(&config, &heads, tch::Device::Cpu, 1)?;
    /// model.add_lora("german", &LoraConfig::default(), 1)?;
    /// model.save_adapter("german", &folder, Head::Span)?;
    /// model.load_adapter("again", &folder, Head::Span)?;
    /// assert!(model.adapters().eq(["again", "german"]));
    /// # std::fs::remove_dir_all(folder).ok();
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn save_adapter(&self, name: &str, folder: impl AsRef<Path>, head: Head) -> Result<()> {
        self.require_head(head)?;
        self.write_adapter(name, folder.as_ref(), head)
    }

    /// Saves an adapter as [`save_adapter`](Self::save_adapter) does. The model may lack `head` if
    /// the folder stores no weights of this head.
    pub(crate) fn write_adapter(&self, name: &str, folder: &Path, head: Head) -> Result<()> {
        let adapter = self.adapter(name)?;
        atomic_file::fs::create_dir_all(folder)?;
        match &adapter.config {
            AdapterConfig::Lora(_) | AdapterConfig::Mixture(_) => {
                self.write_peft(name, &adapter.config, folder, head)
            }
            AdapterConfig::Bottleneck(bottleneck) => {
                self.write_adapter_hub(name, bottleneck, folder, head)
            }
            AdapterConfig::Fusion(names) => self.write_fusion(name, names, folder),
        }
    }

    /// Returns the parameters of `specs` by their names in a file: `prefix` followed by the stored
    /// name. For [`Head::None`], the encoder's prefix is removed from the stored name.
    pub(crate) fn stored_tensors(
        &self,
        specs: &[Spec],
        prefix: &str,
        head: Head,
    ) -> Result<Tensors> {
        let names = self.config().architecture.names();
        let parameters: Tensors = self.named_parameters().into_iter().collect();
        let mut tensors = BTreeMap::new();
        for spec in specs {
            let stored = match head {
                Head::None => {
                    spec.stored_name().strip_prefix(names.prefix).unwrap_or(spec.stored_name())
                }
                _ => spec.stored_name(),
            };
            tensors.insert(format!("{prefix}{stored}"), find(&parameters, &spec.name)?);
        }
        Ok(tensors)
    }

    /// Returns the head parameters that an adapter folder may contain. A masked-LM head belongs to
    /// the base model, so an adapter folder contains none of its parameters.
    pub(crate) fn adapter_head_specs(&self, head: Head) -> Vec<Spec> {
        match head {
            Head::MaskedLm => Vec::new(),
            _ => head_specs(self.config(), head),
        }
    }

    /// Returns an error if the model lacks `head`.
    pub(crate) fn require_head(&self, head: Head) -> Result<()> {
        match head == Head::None || self.heads().contains(&head) {
            true => Ok(()),
            false => Err(Error::NoHead { head: head.name() }),
        }
    }
}

/// Opens the safetensors file `name` of a folder. If only the older pickle file `pickle_name`
/// exists, the error explains how to convert it.
pub(crate) fn open_weights(folder: &Path, name: &str, pickle_name: &str) -> Result<TensorFile> {
    let path = folder.join(name);
    if path.is_file() {
        return Ok(TensorFile::open(path)?);
    }
    let reason = match folder.join(pickle_name).exists() {
        true => format!(
            "has only {pickle_name}, a Python pickle that can run code when it is opened, so it is \
             not read; save the adapter as {name} once in Python"
        ),
        false => format!("found {CONFIG_FILE}, but no {name}"),
    };
    Err(Error::damaged(folder, reason))
}

/// Returns an error if a key was not read, except if its value disables an option or the key
/// satisfies `has_no_effect`.
pub(crate) fn reject_unknown_keys(
    fields: Fields,
    file: &str,
    has_no_effect: impl Fn(&str) -> bool,
) -> Result<()> {
    for (key, value) in fields.remaining()? {
        let is_disabled = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text == "none",
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        if !is_disabled && !has_no_effect(&key) {
            let expected = "this option to be absent; it is not supported";
            return Err(Error::config(file, key, expected, shorten(&value)));
        }
    }
    Ok(())
}
