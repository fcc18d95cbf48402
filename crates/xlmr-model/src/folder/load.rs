//! Loading of models from Hugging Face folders.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use torch_ext::Precision;

use crate::adapters::folder::CONFIG_FILE;
use crate::adapters::peft::WEIGHTS_FILE;
use crate::config::json_file::read_json;
use crate::family::names::Names;
use crate::folder::checkpoint::Checkpoint;
use crate::model::check_heads;
use crate::parameters::{Spec, encoder_specs, head_specs};
use crate::{Config, Error, Head, Model, Result};

/// How token type ("segment") embeddings are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Segments {
    /// Loads as many rows as the checkpoint has.
    #[default]
    AsSaved,
    /// Loads two or more rows. If the checkpoint has only one row, the second row is a copy of it,
    /// so outputs with either segment id are equal before training.
    Learned2,
}

/// Options of [`Model::load`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// How token type embeddings are loaded.
    pub segments: Segments,
    /// Seed of parameters that the checkpoint lacks, as in [`Model::new`].
    pub seed: u64,
    /// Whether the model is only for inference. On the CPU, weights are then mapped into memory
    /// instead of read: of the token embeddings, only the rows of used tokens are read, and
    /// processes share the memory. The weight file must not be changed in place while the model
    /// exists. In bfloat16, the layers' weights are copied ([`Model::pack_weights`]).
    pub inference: bool,
    /// Compute precision, see [`Model::set_precision`].
    pub precision: Precision,
}

/// Differences between a checkpoint and the model that [`Model::load`] returns.
///
/// All names are sorted and have the encoder's prefix (`roberta.`, `bert.`, `model.`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters of the requested heads that the checkpoint lacks; newly initialised.
    pub missing: Vec<String>,
    /// Tensors of the checkpoint that are not part of the model.
    pub unexpected: Vec<String>,
    /// Known but unused tensors: the pooler, heads in `heads.safetensors` that were not requested,
    /// and the bias of the masked-LM head if its decoder has a separate bias
    /// (`lm_head.decoder.bias`).
    pub ignored: Vec<String>,
    /// Names of parameters that are not stored as F32, with their stored dtypes; I4 for matrices that
    /// [`quantize`](crate::quantize) stored in 4 bits.
    pub converted: Vec<(String, String)>,
    /// Names of tensors that the LoRA of PEFT next to the weights changes or adds.
    pub merged: Vec<String>,
}

/// Suffixes of buffers that older versions of transformers wrote.
const BUFFER_SUFFIXES: [&str; 3] =
    ["embeddings.position_ids", "embeddings.token_type_ids", "rotary_emb.inv_freq"];

impl Config {
    /// Reads the `config.json` of a model folder. In a folder of sentence-transformers, the file
    /// may be in a subfolder; see [`tokenizer_file::model_folder`].
    ///
    /// # Errors
    /// [`Error::Damaged`] if the folder does not exist, is an adapter without its base model, or its
    /// `modules.json` (sentence-transformers) is invalid; as [`Config::from_file`].
    pub fn of_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let reason =
                "no such folder; expected a model folder with config.json and model.safetensors";
            return Err(Error::damaged(folder, reason));
        }
        let folder = model_folder(folder)?;
        check_not_adapter(&folder)?;
        Self::from_file(folder.join("config.json"))
    }
}

/// Returns an error if a folder has an adapter, but not the base model.
pub(crate) fn check_not_adapter(folder: &Path) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    if folder.join("config.json").exists() || !path.is_file() {
        return Ok(());
    }
    let config = read_json(&path, "")?;
    let base = config["base_model_name_or_path"].as_str().unwrap_or("");
    let base = if base.is_empty() { String::new() } else { format!(" {base}") };
    let reason = format!(
        "is an adapter without its base model{base}; copy adapter_config.json and {WEIGHTS_FILE} into \
         a copy of the base model's folder, or merge the adapter in PEFT \
         (`model.merge_and_unload().save_pretrained(DIR)`)"
    );
    Err(Error::damaged(folder, reason))
}

/// Returns the folder that contains `config.json`, which is `folder` or, in a folder of
/// sentence-transformers, possibly a subfolder.
pub(crate) fn model_folder(folder: &Path) -> Result<PathBuf> {
    tokenizer_file::model_folder(folder)
        .map_err(|error| Error::damaged(&folder.join("modules.json"), error.problem()))
}

impl Model {
    /// Loads a Hugging Face folder, with heads and adapters written by [`Model::save`].
    ///
    /// The folder has `config.json`, and `model.safetensors` or shards listed in
    /// `model.safetensors.index.json`. If these files exist, additional heads are loaded from
    /// `heads.safetensors`, and adapters from `adapters/`. Adapters that were active when the model
    /// was saved are activated. A folder `adapters` without `active.json` is ignored.
    ///
    /// If the folder has `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them,
    /// the LoRA is merged into the weights in float64, as `merge_and_unload` of PEFT does. LoRA,
    /// rsLoRA and DoRA of linear layers and embeddings are supported, with `rank_pattern`,
    /// `alpha_pattern`, `layers_to_transform`, `modules_to_save` and `bias`.
    ///
    /// In a folder of sentence-transformers, all these files may be in the subfolder that
    /// `modules.json` names for the transformer.
    ///
    /// `model_type` of `config.json` determines the [`Architecture`](crate::Architecture). Weights
    /// stored as F32, F16 or BF16, and matrices that [`quantize`](crate::quantize) stored in 8 or 4
    /// bits, become float32. Tensor names may omit the encoder's prefix
    /// (`roberta.`), as in folders written by `XLMRobertaModel`. `heads` may differ from the
    /// checkpoint's heads: missing parameters are initialised and reported. If heads of several
    /// classes share a tensor name, such as ModernBERT's `head.dense`, every head is loaded from
    /// this tensor. A label layer (`classifier`) is loaded only for the class that `config.json`
    /// names, because labels have another meaning in another class.
    ///
    /// # Errors
    /// Every error names the file and, if applicable, the tensor: [`Error::Io`], [`Error::Json`],
    /// [`Error::Config`], [`Error::TorchExt`] for a safetensors file that is damaged or cannot be
    /// read, [`Error::Damaged`] for missing weights, missing tensors of the encoder, invalid shards
    /// or a number of embeddings other than `vocab_size`, [`Error::Stored`] for a tensor of the
    /// wrong shape or dtype. Adapters have the errors of [`load_adapter`](Self::load_adapter).
    pub fn load(
        folder: impl AsRef<Path>,
        heads: &[Head],
        device: Device,
        options: LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        let folder = folder.as_ref();
        let config = Config::of_folder(folder)?;
        let heads = check_heads(heads)?;
        let folder = model_folder(folder)?;
        let mut checkpoint = Checkpoint::open(&folder, config.architecture.names())?;
        checkpoint.maps_weights = options.inference && device == Device::Cpu;
        let loader = Loader::new(&folder, checkpoint, config, device)?;
        let (config, tensors, report) = loader.load(&heads, options)?;
        let mut model = Self::assemble(config, heads, device, tensors)?;
        model.load_saved_adapters(&folder)?;
        model.set_precision(options.precision)?;
        if options.inference {
            model.pack_weights()?;
        }
        Ok((model, report))
    }
}

struct Loader<'a> {
    folder: &'a Path,
    names: Names,
    config: Config,
    checkpoint: Checkpoint,
    device: Device,
    used_names: BTreeSet<String>,
    tensors: BTreeMap<String, Tensor>,
    report: LoadReport,
}

/// Returns the report that [`Model::load`] would return; reads only the headers of the weights.
pub(crate) fn dry_run(
    folder: &Path,
    mut checkpoint: Checkpoint,
    config: Config,
    head: Head,
) -> Result<LoadReport> {
    checkpoint.headers_only = true;
    let loader = Loader::new(folder, checkpoint, config, Device::Cpu)?;
    Ok(loader.load(&[head], LoadOptions::default())?.2)
}

impl<'a> Loader<'a> {
    fn new(
        folder: &'a Path,
        checkpoint: Checkpoint,
        mut config: Config,
        device: Device,
    ) -> Result<Self> {
        let family = config.architecture.family();
        if let Some(architecture) = family.of_checkpoint(&|name| checkpoint.contains(name)) {
            config.architecture = architecture;
            config.validate()?;
        }
        let names = config.architecture.names();
        let (used_names, tensors, report) = Default::default();
        Ok(Self { folder, names, config, checkpoint, device, used_names, tensors, report })
    }

    fn load(
        mut self,
        heads: &[Head],
        options: LoadOptions,
    ) -> Result<(Config, BTreeMap<String, Tensor>, LoadReport)> {
        self.load_encoder()?;
        self.set_segments(options.segments)?;
        for &head in heads {
            self.load_head(head, options.seed)?;
        }
        Ok(self.finish())
    }

    /// Loads the tensor named `stored` as the parameter of `spec`; returns false if the checkpoint
    /// has no such tensor.
    fn load_parameter(&mut self, spec: &Spec, stored: &str) -> Result<bool> {
        let Some(tensor) = self.checkpoint.load_weight(stored, &spec.shape, self.device)? else {
            return Ok(false);
        };
        if let Some(dtype) = self.checkpoint.dtype(stored).filter(|dtype| dtype != "F32") {
            self.report.converted.push((spec.name.clone(), dtype));
        }
        self.used_names.insert(stored.to_owned());
        self.tensors.insert(spec.name.clone(), tensor);
        Ok(true)
    }

    fn load_encoder(&mut self) -> Result<()> {
        // If token embeddings and decoder are tied, the checkpoint may contain only the decoder.
        let Names { word_embeddings: default_name, decoder, .. } = self.names;
        let has_only_decoder =
            self.config.tie_word_embeddings && !self.checkpoint.contains(default_name);
        let word_embeddings = if has_only_decoder { decoder } else { default_name };
        self.check_vocabulary(word_embeddings)?;
        let specs = encoder_specs(&self.config);
        let stored_name = |spec: &Spec| {
            if spec.name == default_name { word_embeddings.to_owned() } else { spec.name.clone() }
        };
        let missing: Vec<&str> = specs
            .iter()
            .filter(|spec| !self.checkpoint.contains(&stored_name(spec)))
            .map(|spec| spec.name.as_str())
            .collect();
        if !missing.is_empty() {
            let mut names = missing.iter().take(8).copied().collect::<Vec<_>>().join(", ");
            if missing.len() > 8 {
                names.push_str(", …");
            }
            let count = missing.len();
            let reason = format!("{count} tensors of the encoder are missing: {names}");
            return Err(Error::damaged(self.folder, reason));
        }
        for spec in &specs {
            self.load_parameter(spec, &stored_name(spec))?;
        }
        Ok(())
    }

    /// Checks that the stored tensor `name` has `vocab_size` rows.
    fn check_vocabulary(&self, name: &str) -> Result<()> {
        match self.checkpoint.shape(name).as_deref() {
            Some(&[stored, _]) if stored != self.config.vocab_size => {
                let reason = format!(
                    "config.json has vocab_size = {}, but {name} has {stored} rows; the two files \
                     belong to different models, or the vocabulary was resized without its config",
                    self.config.vocab_size
                );
                Err(Error::damaged(&self.checkpoint.path(name), reason))
            }
            _ => Ok(()),
        }
    }

    fn set_segments(&mut self, segments: Segments) -> Result<()> {
        if segments == Segments::Learned2 && self.config.type_vocab_size == 1 {
            let Some(embeddings_name) = self.names.token_type_embeddings else {
                let expected = "as_saved: this architecture has no segments";
                return Err(Error::input("segments", expected, "learned2"));
            };
            let two_rows = self.tensors[embeddings_name].f_repeat([2, 1])?;
            self.tensors.insert(embeddings_name.into(), two_rows);
            self.config.type_vocab_size = 2;
        }
        Ok(())
    }

    fn load_head(&mut self, head: Head, seed: u64) -> Result<()> {
        let names = self.names;
        // If the class differs, the task differs too, so the checkpoint's labels have another
        // meaning and its label layer is not loaded.
        let class = head.class(&self.config.architecture);
        let is_same_class = self.config.architectures.first().is_none_or(|name| *name == class);
        let merged_names = self.checkpoint.merged_names();
        for spec in head_specs(&self.config, head) {
            let is_loaded = if spec.name == names.lm_bias {
                self.load_lm_bias(&spec)?
            } else {
                if spec.name == names.decoder {
                    self.check_vocabulary(names.decoder)?;
                }
                let is_in_heads_file = self.checkpoint.heads_file_tensors.contains(&spec.name);
                let stored =
                    if is_in_heads_file { &spec.name } else { spec.stored_name() }.to_owned();
                let is_classifier = !is_in_heads_file
                    && spec.stored_name.is_some()
                    && stored.starts_with("classifier.");
                // An adapter's label layer belongs to the adapter's task.
                let has_meaning = is_same_class || !is_classifier || merged_names.contains(&stored);
                has_meaning && self.load_parameter(&spec, &stored)?
            };
            if !is_loaded {
                let new_tensor =
                    spec.initial_tensor(self.config.initializer_range, seed, self.device)?;
                self.tensors.insert(spec.name.clone(), new_tensor);
                self.report.missing.push(spec.name);
            }
        }
        if head == Head::MaskedLm && self.config.tie_word_embeddings {
            if merged_names.contains(names.word_embeddings) {
                let expected = "no LoRA of the token embeddings: the masked-LM head uses the same \
                                weights without the LoRA";
                return Err(Error::damaged(self.folder, format!("adapter: expected {expected}")));
            }
            self.check_tied_decoder()?;
        }
        Ok(())
    }

    /// Loads the decoder's bias, which may be stored under one of two names or under both. If the
    /// checkpoint has both names, the bias under `decoder_bias` is loaded.
    fn load_lm_bias(&mut self, spec: &Spec) -> Result<bool> {
        let Names { lm_bias, decoder_bias, .. } = self.names;
        if !self.load_parameter(spec, decoder_bias)? {
            return self.load_parameter(spec, lm_bias);
        }
        if let Some(unused_bias) = self.checkpoint.load_weight(lm_bias, &spec.shape, self.device)? {
            self.used_names.insert(lm_bias.into());
            if !self.tensors[lm_bias].equal(&unused_bias) {
                self.report.ignored.push(lm_bias.into());
            }
        }
        Ok(true)
    }

    /// Checks that a stored decoder equals the token embeddings if the configuration ties them.
    fn check_tied_decoder(&mut self) -> Result<()> {
        let Names { word_embeddings, decoder: name, .. } = self.names;
        if self.used_names.contains(name) {
            return Ok(());
        }
        let shape = [self.config.vocab_size, self.config.embedding_size()];
        let Some(decoder) = self.checkpoint.load_weight(name, &shape, self.device)? else {
            return Ok(());
        };
        self.used_names.insert(name.into());
        if self.tensors[word_embeddings].equal(&decoder) {
            return Ok(());
        }
        Err(Error::Stored {
            path: self.checkpoint.path(name),
            tensor: name.into(),
            expected: format!(
                "the values of {word_embeddings}, because tie_word_embeddings is true"
            ),
            got:
                "other values; set \"tie_word_embeddings\": false in config.json if they are meant \
                  to differ"
                    .into(),
        })
    }

    fn finish(mut self) -> (Config, BTreeMap<String, Tensor>, LoadReport) {
        let unused_prefixes = self.names.unused_prefixes;
        for name in self.checkpoint.names() {
            let is_buffer = BUFFER_SUFFIXES.iter().any(|buffer| name.ends_with(buffer));
            if is_buffer || self.used_names.contains(name) {
                continue;
            }
            let is_expected = unused_prefixes.iter().any(|prefix| name.starts_with(prefix))
                || self.checkpoint.heads_file_tensors.contains(name);
            let LoadReport { ignored, unexpected, .. } = &mut self.report;
            (if is_expected { ignored } else { unexpected }).push(name.to_owned());
        }
        self.report.merged = self.checkpoint.merged_names().into_iter().collect();
        self.report.missing.sort();
        self.report.ignored.sort();
        self.report.converted.sort();
        (self.config, self.tensors, self.report)
    }
}
