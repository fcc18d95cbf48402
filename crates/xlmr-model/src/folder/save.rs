//! Saving of models to Hugging Face folders.
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::adapters::folder::CONFIG_FILE;
use crate::folder::checkpoint::{HEADS_FILE, SINGLE_FILE};
use crate::parameters::{encoder_specs, head_specs};
use crate::{Error, Head, Model, Result};

impl Model {
    /// Saves the model as transformers does for the class of `main_head`, in float32.
    ///
    /// `config.json` and `model.safetensors` have exactly the keys of this class. Other heads are
    /// written to `heads.safetensors`, which [`Model::load`] reads. Creates the folder if it is
    /// missing, does not change other files in it, and writes each file atomically.
    ///
    /// [`Head::None`] writes the keys of the bare encoder, without the pooler that XLM-R's and
    /// BERT's classes may have (`add_pooling_layer=False`).
    ///
    /// Each adapter is saved in `adapters/NAME/`, a fusion in `adapters/NAME,NAME/`, in float32, in
    /// the format of [`save_adapter`](Self::save_adapter) and
    /// [`save_adapter_fusion`](Self::save_adapter_fusion) without a head's weights.
    /// `adapters/active.json`, which is written last, lists all adapters and the active adapters.
    /// [`Model::load`] activates the listed active adapters, and rejects a folder that was not
    /// saved completely. In `adapters/`, only files of an earlier save are removed.
    ///
    /// # Errors
    /// [`Error::NoHead`] if the model lacks `main_head`; [`Error::Damaged`] if the folder has an
    /// `adapter_config.json`; [`Error::Io`]; [`Error::Json`] and
    /// [`Error::Config`] for an `adapters/active.json` of another program; [`Error::TorchExt`];
    /// [`Error::Torch`].
    pub fn save(&self, folder: impl AsRef<Path>, main_head: Head) -> Result<()> {
        let folder = folder.as_ref();
        self.require_head(main_head)?;
        atomic_file::fs::create_dir_all(folder)?;
        let adapter = folder.join(CONFIG_FILE);
        if adapter.exists() {
            let reason = "belongs to an adapter, which would be merged into the saved model; save the \
                          model in another folder";
            return Err(Error::damaged(&adapter, reason));
        }
        let earlier_adapters = self.begin_saving_adapters(folder)?;
        let encoder_names: BTreeSet<String> =
            encoder_specs(self.config()).into_iter().map(|spec| spec.name).collect();
        let names = self.config().architecture.names();
        let stored_names: BTreeMap<String, String> = head_specs(self.config(), main_head)
            .into_iter()
            .map(|spec| (spec.name.clone(), spec.stored_name().to_owned()))
            .collect();
        let (mut main_tensors, mut other_heads) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in self.plain_parameters() {
            if encoder_names.contains(&name) {
                let stored = match main_head {
                    Head::None => name.strip_prefix(names.prefix).unwrap_or(&name).to_owned(),
                    _ => name,
                };
                main_tensors.insert(stored, tensor);
                continue;
            }
            let (tensors, stored) = match stored_names.get(&name) {
                Some(stored) => (&mut main_tensors, stored.clone()),
                None => (&mut other_heads, name),
            };
            // In transformers, a decoder that is not tied to the token embeddings also has a
            // separate bias.
            if stored == names.lm_bias && !self.config().tie_word_embeddings {
                tensors.insert(names.decoder_bias.to_owned(), tensor.shallow_clone());
            }
            tensors.insert(stored, tensor);
        }
        write_weights(&folder.join(SINGLE_FILE), &mut main_tensors)?;
        let heads_path = folder.join(HEADS_FILE);
        if !other_heads.is_empty() {
            write_weights(&heads_path, &mut other_heads)?;
        } else {
            // The heads of an earlier model in this folder must not be loaded with the new model.
            remove_file(&heads_path)?;
        }
        self.config().for_head(main_head).write(folder.join("config.json"))?;
        self.finish_saving_adapters(folder, earlier_adapters, main_head)
    }
}

/// Writes a safetensors file with the metadata that transformers writes for PyTorch.
pub(crate) fn write_weights(path: &Path, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    for tensor in tensors.values_mut() {
        // This does not copy tensors that are already float32.
        *tensor = tensor.f_to_kind(Kind::Float)?;
    }
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    Ok(torch_ext::write_tensors(path, named, &[("format", "pt")])?)
}

/// Removes a file, if it exists.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}
