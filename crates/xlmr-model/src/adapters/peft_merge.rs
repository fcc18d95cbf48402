//! LoRAs of PEFT next to a model's weights, which are merged into the weights on loading.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tch::{Device, Kind, Tensor};
use torch_ext::TensorFile;

use crate::adapters::folder::{CONFIG_FILE, open_weights};
use crate::adapters::peft::{NAME_PREFIX, WEIGHTS_FILE};
use crate::adapters::peft_config::PeftConfig;
use crate::config::json_file::read_json;
use crate::family::names::Names;
use crate::folder::stored::{check_float, stored_error};
use crate::{Error, Result};

/// A LoRA of PEFT whose weights are merged into a checkpoint, in float64.
///
/// A tensor of the adapter either replaces a tensor of the checkpoint (heads and biases that were
/// trained with the LoRA) or is part of the update of a weight.
#[derive(Debug)]
pub(crate) struct MergedAdapter {
    file: TensorFile,
    /// Names in the file of tensors that replace the checkpoint's, by names in the checkpoint.
    replacements: BTreeMap<String, String>,
    /// Updates of weights, by the names of modules in the checkpoint.
    updates: BTreeMap<String, Update>,
}

/// Names in the file of the tensors that update a module, and the update's scale.
#[derive(Debug, Default)]
struct Update {
    /// A: `[r, inputs]`, or `[r, V]` for embeddings.
    down: Option<String>,
    /// B: `[outputs, r]`, or `[E, r]` for embeddings.
    up: Option<String>,
    up_bias: Option<String>,
    /// Magnitudes of DoRA: `[outputs]`, or `[E]` for embeddings.
    magnitude: Option<String>,
    is_embedding: bool,
    rank: i64,
    scale: f64,
}

/// The part of a tensor's name that follows the name of its module.
enum Part {
    Down { is_embedding: bool },
    Up { is_embedding: bool },
    UpBias,
    Magnitude,
}

/// Suffixes of the tensors of a LoRA.
const PARTS: [(&str, Part); 7] = [
    (".lora_A.weight", Part::Down { is_embedding: false }),
    (".lora_B.weight", Part::Up { is_embedding: false }),
    (".lora_B.bias", Part::UpBias),
    (".lora_embedding_A", Part::Down { is_embedding: true }),
    (".lora_embedding_B", Part::Up { is_embedding: true }),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
];

/// The part of a name that PEFT adds for a module of `modules_to_save`.
const MODULES_TO_SAVE: &str = ".modules_to_save.";

/// Source of expected shapes, for error messages.
const SOURCE: &str = "according to adapter_config.json and the model";

impl MergedAdapter {
    /// Reads the adapter next to the weights of `folder`; `None` if there is none. `base_names` are
    /// the tensors of the checkpoint with their shapes.
    pub(crate) fn of_folder(
        folder: &Path,
        names: &Names,
        base_shapes: &BTreeMap<String, Vec<i64>>,
    ) -> Result<Option<Self>> {
        let path = folder.join(CONFIG_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let config = PeftConfig::read(read_json(&path, "")?, &path.display().to_string())?;
        let file = open_weights(folder, WEIGHTS_FILE, "adapter_model.bin")?;
        let mut adapter = Self { file, replacements: BTreeMap::new(), updates: BTreeMap::new() };
        // In adapters of a bare encoder, module names lack the encoder's prefix.
        let mut is_bare = true;
        for stored in adapter.file.names() {
            let Some(name) = stored.strip_prefix(NAME_PREFIX) else {
                let reason =
                    format!("tensor {stored}: expected a name that starts with {NAME_PREFIX}");
                return Err(Error::damaged(adapter.file.path(), reason));
            };
            is_bare &= !name.starts_with(names.prefix);
            adapter.add_tensor(&stored, name, names, &config, base_shapes)?;
        }
        adapter.complete_updates(names, &config, base_shapes, is_bare)?;
        Ok(Some(adapter))
    }

    /// Adds a tensor of the file; `name` is its name without PEFT's prefix.
    fn add_tensor(
        &mut self,
        stored: &str,
        name: &str,
        names: &Names,
        config: &PeftConfig,
        base_shapes: &BTreeMap<String, Vec<i64>>,
    ) -> Result<()> {
        let part = PARTS.iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, part)));
        let duplicate = if let Some((module, part)) = part {
            let update = self.updates.entry(names.add_prefix(module)).or_default();
            let slot = match part {
                Part::Down { is_embedding } | Part::Up { is_embedding } => {
                    update.is_embedding |= is_embedding;
                    match part {
                        Part::Down { .. } => &mut update.down,
                        _ => &mut update.up,
                    }
                }
                Part::UpBias => &mut update.up_bias,
                Part::Magnitude => &mut update.magnitude,
            };
            slot.replace(stored.to_owned())
        } else {
            // PEFT wraps adapted and saved modules. With `bias: all`, it saves the biases of saved
            // modules twice, and the biases of the modules that they replace.
            let name = name.replace(".base_layer.", ".").replace(MODULES_TO_SAVE, ".");
            let target = names.add_prefix(&name);
            if name.contains(".original_module.")
                || (stored.contains(MODULES_TO_SAVE) && self.is_stored(&name))
            {
                return Ok(());
            }
            if !base_shapes.contains_key(&target) && !config.is_saved_module(&name) {
                let reason = format!(
                    "tensor {stored} belongs neither to a LoRA nor to the model; supported: LoRA and \
                     DoRA of linear layers and embeddings, biases, and modules_to_save"
                );
                return Err(Error::damaged(self.file.path(), reason));
            }
            self.replacements.insert(target, stored.to_owned())
        };
        match duplicate {
            Some(earlier) => {
                let reason = format!("tensors {earlier} and {stored} have the same meaning");
                Err(Error::damaged(self.file.path(), reason))
            }
            None => Ok(()),
        }
    }

    /// Returns whether the file has a tensor of this name, after PEFT's prefix.
    fn is_stored(&self, name: &str) -> bool {
        self.file.contains(&format!("{NAME_PREFIX}{name}"))
    }

    /// Sets the scales of all updates, and checks that the file has exactly the updates that the
    /// configuration specifies.
    fn complete_updates(
        &mut self,
        names: &Names,
        config: &PeftConfig,
        base_shapes: &BTreeMap<String, Vec<i64>>,
        is_bare: bool,
    ) -> Result<()> {
        // Returns the name of a module in PEFT's model.
        let peft_name = |module: &str| -> String {
            let unprefixed = module.strip_prefix(names.prefix).filter(|_| is_bare);
            unprefixed.unwrap_or(module).to_owned()
        };
        let path = self.file.path().to_owned();
        for (module, update) in &mut self.updates {
            let name = peft_name(module);
            let refuse = |reason: String| Err(Error::damaged(&path, reason));
            if !config.targets(&name)? {
                let reason = format!("has a LoRA of {name}, which {CONFIG_FILE} does not target");
                return refuse(reason);
            }
            if !base_shapes.contains_key(&format!("{module}.weight"))
                && !self.replacements.contains_key(&format!("{module}.weight"))
                && !names.unused_prefixes.iter().any(|prefix| module.starts_with(prefix))
            {
                return refuse(format!("has a LoRA of {name}, which the model's weights lack"));
            }
            let parts = [
                ("lora_A", update.down.is_some()),
                ("lora_B", update.up.is_some()),
                ("lora_magnitude_vector", update.magnitude.is_some() || !config.use_dora),
                ("lora_B.bias", update.up_bias.is_some() || !config.lora_bias),
            ];
            if let Some((part, _)) = parts.iter().find(|(_, exists)| !exists) {
                return refuse(format!("lacks tensor {NAME_PREFIX}{name}.{part}"));
            }
            if update.magnitude.is_some() && !config.use_dora {
                let reason = format!("has magnitudes of {name}, but {CONFIG_FILE} has no use_dora");
                return refuse(reason);
            }
            (update.rank, update.scale) = config.rank_and_scale(&name)?;
        }
        // The class of PEFT's model may lack the heads of this checkpoint, so only modules of the
        // encoder are required.
        let is_module = |name: &String| {
            name.starts_with(names.prefix)
                && !names.unused_prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let matrices = base_shapes.iter().filter(|(_, shape)| shape.len() == 2);
        for (name, _) in matrices.filter(|(name, _)| is_module(name)) {
            let Some(module) = name.strip_suffix(".weight") else { continue };
            let name = peft_name(module);
            if !self.updates.contains_key(module) && config.targets(&name)? {
                let reason = format!("lacks a LoRA of {name}, which {CONFIG_FILE} targets");
                return Err(Error::damaged(&path, reason));
            }
        }
        Ok(())
    }

    /// Returns the names of checkpoint tensors that the adapter changes or adds.
    pub(crate) fn changed_names(&self) -> BTreeSet<String> {
        let updates = self.updates.iter().flat_map(|(module, update)| {
            let bias = update.up_bias.is_some().then(|| format!("{module}.bias"));
            std::iter::once(format!("{module}.weight")).chain(bias)
        });
        updates.chain(self.replacements.keys().cloned()).collect()
    }

    /// Returns the file and the name in the file of the tensor that replaces the checkpoint's
    /// tensor `name`.
    pub(crate) fn replacement(&self, name: &str) -> Option<(&TensorFile, &str)> {
        let stored = self.replacements.get(name)?;
        Some((&self.file, stored))
    }

    /// Returns the names of tensors that replace or complement the checkpoint's tensors.
    pub(crate) fn replaced_names(&self) -> impl Iterator<Item = &str> {
        self.replacements.keys().map(String::as_str)
    }

    /// Merges the update of the checkpoint's tensor `name` into its value. If `headers_only`, only
    /// shapes and dtypes are checked, and `value` is returned.
    pub(crate) fn merge(
        &self,
        name: &str,
        shape: &[i64],
        value: Tensor,
        headers_only: bool,
    ) -> Result<Tensor> {
        if let Some(module) = name.strip_suffix(".bias")
            && let Some(Update { up_bias: Some(up_bias), scale, .. }) = self.updates.get(module)
        {
            check_float(&self.file, up_bias, shape, SOURCE)?;
            if headers_only {
                return Ok(value);
            }
            let update = self.read(up_bias, value.device())?.f_mul_scalar(*scale)?;
            return Ok(value.f_to_kind(Kind::Double)?.f_add(&update)?.f_to_kind(Kind::Float)?);
        }
        let update = name.strip_suffix(".weight").and_then(|module| self.updates.get(module));
        let Some(update) = update else { return Ok(value) };
        let (Some(down), Some(up)) = (&update.down, &update.up) else {
            unreachable!("both matrices of an update exist, see `complete_updates`")
        };
        let &[rows, columns] = shape else {
            let (expected, got) = ("no LoRA: this parameter is not a matrix", format!("{shape:?}"));
            return Err(stored_error(&self.file, down, expected.into(), got));
        };
        let (inputs, outputs) = if update.is_embedding { (rows, columns) } else { (columns, rows) };
        check_float(&self.file, down, &[update.rank, inputs], SOURCE)?;
        check_float(&self.file, up, &[outputs, update.rank], SOURCE)?;
        if let Some(magnitude) = &update.magnitude {
            check_magnitude(&self.file, magnitude, outputs)?;
        }
        if headers_only {
            return Ok(value);
        }
        let device = value.device();
        let product = self.read(up, device)?.f_matmul(&self.read(down, device)?)?;
        let product = if update.is_embedding { product.f_transpose(0, 1)? } else { product };
        let change = product.f_mul_scalar(update.scale)?;
        let merged = value.f_to_kind(Kind::Double)?.f_add(&change)?;
        let merged = match &update.magnitude {
            None => merged,
            // DoRA (Liu et al. 2024, Eq. 5): each output has a trained norm.
            Some(magnitude) => {
                let inputs_dim = i64::from(!update.is_embedding);
                let norms = merged.f_norm_scalaropt_dim(2.0, [inputs_dim].as_slice(), true)?;
                let magnitudes = self.read(magnitude, device)?.f_view_as(&norms)?;
                merged.f_mul(&magnitudes.f_div(&norms)?)?
            }
        };
        Ok(merged.f_to_kind(Kind::Float)?)
    }

    fn read(&self, stored: &str, device: Device) -> Result<Tensor> {
        Ok(self.file.read(stored)?.f_to_device(device)?.f_to_kind(Kind::Double)?)
    }
}

/// Checks that DoRA's magnitudes have one element for each output.
#[expect(clippy::expect_used, reason = "updates consist of the file's tensors")]
fn check_magnitude(file: &TensorFile, name: &str, outputs: i64) -> Result<()> {
    let shape = file.shape(name).expect("the file contains the magnitudes");
    match shape.iter().product::<i64>() == outputs {
        true => check_float(file, name, &shape, SOURCE),
        false => {
            let expected = format!("{outputs} elements {SOURCE}");
            Err(stored_error(file, name, expected, format!("shape {shape:?}")))
        }
    }
}
