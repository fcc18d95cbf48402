//! Weights of a model folder: a single file or indexed shards, with bare or prefixed keys.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use torch_ext::TensorFile;

use crate::adapters::peft_merge::MergedAdapter;
use crate::config::json_file::parse_json;
use crate::family::names::Names;
use crate::folder::stored;
use crate::{Error, Result};

pub(crate) const SINGLE_FILE: &str = "model.safetensors";
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Name of a weight file with matrices in 8 or 4 bits. A program without support for such matrices
/// would use the integers as weights, so the file has a name that such a program does not open.
pub(crate) const INT8_FILE: &str = "model.int8.safetensors";
/// File with all heads except the head that `config.json` names.
pub(crate) const HEADS_FILE: &str = "heads.safetensors";

/// File and name of a stored tensor.
#[derive(Clone, Debug)]
struct StoredTensor {
    file_index: usize,
    name: String,
}

/// All tensors of a model folder, by names with the encoder's prefix.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    files: Vec<TensorFile>,
    tensors: BTreeMap<String, StoredTensor>,
    /// Tensor names that occur only in `heads.safetensors`.
    pub(crate) heads_file_tensors: BTreeSet<String>,
    /// Whether only the shapes and dtypes of weights are checked, and no weights are read.
    pub(crate) headers_only: bool,
    /// Whether weights are mapped into memory instead of read.
    pub(crate) maps_weights: bool,
    /// The LoRA next to the weights, which is merged into them.
    adapter: Option<MergedAdapter>,
    names: Names,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens the weight files of a folder, and the LoRA of PEFT next to them, if there is one.
    /// `names` are the names of the architecture that the folder's `config.json` specifies.
    ///
    /// If the names of all main tensors begin with one of [`WRAPPER_PREFIXES`], the prefix is
    /// removed.
    pub(crate) fn open(folder: &Path, names: Names) -> Result<Self> {
        let (files, tensors, heads_file_tensors) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let (headers_only, maps_weights) = (false, false);
        let mut checkpoint = Self {
            files,
            tensors,
            heads_file_tensors,
            headers_only,
            maps_weights,
            adapter: None,
            names,
        };
        let mut files = Vec::new();
        for (path, listed_tensors) in weight_files(folder)? {
            files.push((TensorFile::open(&path)?, listed_tensors));
        }
        let wrapper_prefix = common_prefix(&files);
        for (file, listed_tensors) in files {
            checkpoint.add_file(file, listed_tensors.as_ref(), &wrapper_prefix)?;
        }
        checkpoint.check_merged()?;
        let heads = folder.join(HEADS_FILE);
        if heads.is_file() {
            let file = TensorFile::open(&heads)?;
            let file_index = checkpoint.files.len();
            for name in file.names() {
                if !checkpoint.tensors.contains_key(&name) {
                    checkpoint.heads_file_tensors.insert(name.clone());
                    checkpoint.tensors.insert(name.clone(), StoredTensor { file_index, name });
                }
            }
            checkpoint.files.push(file);
        }
        let base_shapes = checkpoint.tensors.keys();
        let base_shapes =
            base_shapes.map(|name| (name.clone(), checkpoint.known_shape_and_dtype(name).0));
        checkpoint.adapter = MergedAdapter::of_folder(folder, &names, &base_shapes.collect())?;
        Ok(checkpoint)
    }

    /// Returns an error if a tensor belongs to a LoRA that is not merged into the weights. Without
    /// the LoRA's scale, which is not part of the weights, it cannot be merged.
    fn check_merged(&self) -> Result<()> {
        let is_unmerged = |name: &&String| {
            let mut components = name.split('.');
            components.any(|part| part.starts_with("lora_") || part == "base_layer")
        };
        match self.tensors.keys().find(is_unmerged) {
            None => Ok(()),
            Some(name) => {
                let reason = format!(
                    "tensor {name} belongs to a LoRA that is not merged into the weights; merge it in \
                     PEFT (`model.merge_and_unload().save_pretrained(DIR)`), or save the LoRA with \
                     PEFT's `save_pretrained` next to the weights of its base model"
                );
                Err(Error::damaged(&self.path(name), reason))
            }
        }
    }

    /// Returns the names of parameters that the LoRA next to the weights changes.
    pub(crate) fn merged_names(&self) -> BTreeSet<String> {
        match &self.adapter {
            Some(adapter) => adapter.changed_names(),
            None => BTreeSet::new(),
        }
    }

    /// Adds all tensors of a file, or only the tensors that the index lists for this file. Removes
    /// `wrapper_prefix` from their names.
    fn add_file(
        &mut self,
        file: TensorFile,
        listed: Option<&BTreeSet<String>>,
        wrapper_prefix: &str,
    ) -> Result<()> {
        if let Some(name) = listed.into_iter().flatten().find(|name| !file.contains(name)) {
            let reason = format!("{INDEX_FILE} lists tensor {name} for this file, which lacks it");
            return Err(Error::damaged(file.path(), reason));
        }
        let file_index = self.files.len();
        for name in file.names() {
            if listed.is_some_and(|listed| !listed.contains(&name)) {
                continue;
            }
            let stored = StoredTensor { file_index, name: name.clone() };
            let unwrapped = name.strip_prefix(wrapper_prefix).unwrap_or(&name);
            let full_name = self.names.add_prefix(&current_name(unwrapped));
            if self.tensors.insert(full_name, stored).is_some() {
                let prefix = self.names.prefix;
                let reason = format!(
                    "tensor {name} is stored twice, with and without `{prefix}`, or under an older \
                     name"
                );
                return Err(Error::damaged(file.path(), reason));
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Returns the names of all tensors except scales of quantised matrices, with the encoder's
    /// prefix.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let is_weight =
            |tensor: &StoredTensor| !stored::is_scale(&self.files[tensor.file_index], &tensor.name);
        let weights = self.tensors.iter().filter(move |(_, tensor)| is_weight(tensor));
        let stored = weights.map(|(name, _)| name.as_str());
        let added = self.adapter.iter().flat_map(MergedAdapter::replaced_names);
        stored.chain(added.filter(|name| !self.tensors.contains_key(*name)))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<(&TensorFile, &str)> {
        if let Some(replacement) = self.adapter.as_ref().and_then(|one| one.replacement(name)) {
            return Some(replacement);
        }
        let stored = self.tensors.get(name)?;
        Some((&self.files[stored.file_index], &stored.name))
    }

    pub(crate) fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let (file, name) = self.find(name)?;
        stored::shape(file, name)
    }

    /// Returns shape and dtype of a tensor that the checkpoint contains.
    #[expect(clippy::expect_used, reason = "a condition of the function")]
    fn known_shape_and_dtype(&self, name: &str) -> (Vec<i64>, String) {
        let known = self.shape(name).zip(self.dtype(name));
        known.expect("the checkpoint contains the tensor")
    }

    /// Returns the dtype in which a tensor is stored, see [`stored::dtype`].
    pub(crate) fn dtype(&self, name: &str) -> Option<String> {
        let (file, name) = self.find(name)?;
        stored::dtype(file, name)
    }

    /// Returns the path of the file that contains a tensor. The checkpoint contains the tensor.
    #[expect(clippy::expect_used, reason = "a condition of the function")]
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let (file, _) = self.find(name).expect("the checkpoint contains the tensor");
        file.path().to_owned()
    }

    /// Returns the number of stored elements, the dtypes, and the total size of the files in bytes.
    pub(crate) fn summarise(&self) -> Result<(i64, BTreeSet<String>, u64)> {
        let (mut elements, mut dtypes, mut bytes) = (0, BTreeSet::new(), 0);
        for name in self.names() {
            let (shape, dtype) = self.known_shape_and_dtype(name);
            elements += shape.iter().product::<i64>();
            dtypes.insert(dtype);
        }
        for file in &self.files {
            bytes += atomic_file::fs::metadata(file.path())?.len();
        }
        Ok((elements, dtypes, bytes))
    }

    /// Reads a weight as float32, with the LoRA next to the weights merged into it; returns `None`
    /// if the checkpoint does not contain the weight. If `headers_only`, checks the weight's shape
    /// and dtype, and returns an empty tensor.
    pub(crate) fn load_weight(
        &self,
        name: &str,
        shape: &[i64],
        device: Device,
    ) -> Result<Option<Tensor>> {
        let Some(value) = self.load_stored(name, shape, device)? else { return Ok(None) };
        match &self.adapter {
            None => Ok(Some(value)),
            Some(adapter) => adapter.merge(name, shape, value, self.headers_only).map(Some),
        }
    }

    fn load_stored(&self, name: &str, shape: &[i64], device: Device) -> Result<Option<Tensor>> {
        let Some((file, name)) = self.find(name) else { return Ok(None) };
        stored::check_weight(file, name, shape, "according to config.json")?;
        if self.headers_only {
            return Ok(Some(Tensor::new()));
        }
        if let Some(matrix) = stored::read_quantized(file, name, device)? {
            return Ok(Some(matrix));
        }
        let tensor = if self.maps_weights { file.map(name)? } else { file.read(name)? };
        Ok(Some(tensor.f_to_device(device)?.f_to_kind(Kind::Float)?))
    }
}

/// Prefixes of all names in checkpoints of wrapped models: of `torch.compile`, and of
/// `DistributedDataParallel`.
const WRAPPER_PREFIXES: [&str; 2] = ["_orig_mod.", "module."];

/// Returns the [`WRAPPER_PREFIXES`] with which the names of all tensors in `files` begin, joined.
fn common_prefix(files: &[(TensorFile, Option<BTreeSet<String>>)]) -> String {
    let names: Vec<String> = files.iter().flat_map(|(file, _)| file.names()).collect();
    let mut prefix = String::new();
    let has_all = |prefix: &str| !names.is_empty() && names.iter().all(|n| n.starts_with(prefix));
    while let Some(longer) =
        WRAPPER_PREFIXES.iter().map(|next| format!("{prefix}{next}")).find(|next| has_all(next))
    {
        prefix = longer;
    }
    prefix
}

/// Converts old tensor names. In checkpoints of 2018 and 2019, the weight and bias of a norm are
/// named `gamma` and `beta`.
fn current_name(name: &str) -> String {
    for (old_suffix, new_suffix) in [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")] {
        if let Some(norm) = name.strip_suffix(old_suffix) {
            return format!("{norm}LayerNorm.{new_suffix}");
        }
    }
    name.to_owned()
}

/// Returns the files of a folder's main weights: a single file without a list of tensors, or the
/// shards of an index, each with the names of the tensors that the index lists for it.
pub(crate) fn weight_files(folder: &Path) -> Result<BTreeMap<PathBuf, Option<BTreeSet<String>>>> {
    let [single, index, quantized] =
        [SINGLE_FILE, INDEX_FILE, INT8_FILE].map(|name| folder.join(name));
    if index.is_file() && !single.is_file() {
        let shards = read_shard_index(folder, &index)?.into_iter();
        return Ok(shards.map(|(path, tensors)| (path, Some(tensors))).collect());
    }
    match [single, quantized].into_iter().find(|path| path.is_file()) {
        Some(path) => Ok([(path, None)].into()),
        None => Err(no_weights_error(folder)),
    }
}

/// Reads an index, and returns the path of each shard with the names of the tensors in this shard.
#[expect(clippy::expect_used, reason = "the index names each shard by a tensor and a file name")]
fn read_shard_index(folder: &Path, index: &Path) -> Result<BTreeMap<PathBuf, BTreeSet<String>>> {
    // The limit of 256 MiB is large enough: the largest known indices have 10 MB, with 100,000
    // tensors.
    let text = atomic_file::read_limited(index, 256 << 20)?;
    let shard_index: ShardIndex = parse_json(index, &text)?;
    if shard_index.weight_map.is_empty() {
        return Err(Error::damaged(index, "weight_map is empty"));
    }
    let mut shards: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for (tensor, shard) in shard_index.weight_map {
        let mut components = Path::new(&shard).components();
        let is_file_name =
            matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
        if !is_file_name || shard.contains(['/', '\\']) {
            let reason = format!(
                "tensor {tensor} is stored in {shard:?}, which is not a file of this folder"
            );
            return Err(Error::damaged(index, reason));
        }
        shards.entry(folder.join(shard)).or_default().insert(tensor);
    }
    if let Some((path, tensors)) = shards.iter().find(|(path, _)| !path.is_file()) {
        let tensor = tensors.first().expect("a shard is named by a tensor");
        let file_name = path.file_name().expect("a shard is a file of the folder");
        let reason = format!(
            "tensor {tensor} and {} more are in {}, which is missing; copy all shards",
            tensors.len() - 1,
            file_name.display()
        );
        return Err(Error::damaged(index, reason));
    }
    Ok(shards)
}

fn no_weights_error(folder: &Path) -> Error {
    let has_pickle = std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("pytorch_model") && (name.ends_with(".bin") || name.ends_with(".json"))
        })
    });
    let reason = if has_pickle {
        "has only pytorch_model.bin, a Python pickle that can run code when it is opened, so it \
         is not read; convert it once in Python: \
         `AutoModelForMaskedLM.from_pretrained(DIR).save_pretrained(DIR)` of transformers, with \
         the class that config.json names, writes model.safetensors"
            .to_owned()
    } else {
        format!(
            "found config.json, but neither {SINGLE_FILE} nor {INDEX_FILE}; download the weights too, \
             for example with `hf download NAME --include '*.safetensors' --local-dir DIR`"
        )
    };
    Error::damaged(folder, reason)
}
