//! Adapters in and out: folders of PEFT.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use torch_ext::TensorFile;

use crate::adapters::{ADAPTERS, LoraConfig};
use crate::checkpoint::read_weight;
use crate::config::{read_json, write_json};
use crate::fields::{COUNT, Fields, RATE, brief};
use crate::model::find;
use crate::parameters::{Spec, head_specs};
use crate::projection::copy_into;
use crate::save::write_weights;
use crate::{Config, Error, Head, LoraTarget, Model, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of a model's parameters.
const PREFIX: &str = "base_model.model.";

/// Keys that say nothing about what is computed.
const INFORMATION: [&str; 8] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
];

/// What `adapter_config.json` says.
struct Stored {
    lora: LoraConfig,
    /// Modules of the head, which are stored whole.
    whole: Vec<String>,
    task: Option<String>,
}

impl Model {
    /// Adds an adapter from a folder that [`save_adapter`](Self::save_adapter) or PEFT's
    /// `save_pretrained` wrote, not yet [active](Self::set_active): `adapter_config.json` and
    /// `adapter_model.safetensors`, in F32, F16 or BF16.
    ///
    /// The weights of `architecture`'s head that the folder has (`modules_to_save`) replace the
    /// model's, whichever adapter is active; [`Head::None`] is for an adapter without a head.
    ///
    /// # Errors
    /// Every cause names the file, and the key or tensor. [`Error::Io`]; [`Error::Json`];
    /// [`Error::Config`] for an option that is not understood, such as `use_dora`, or targets that
    /// are not the same products in every layer; [`Error::NoWeights`] without a safetensors file;
    /// [`Error::TorchExt`] if that is damaged; [`Error::Damaged`] if a tensor is missing or too
    /// much; [`Error::Stored`] for one of another shape, as of another base or rank;
    /// [`Error::NoHead`]; [`Error::Input`] as for [`add_lora`](Self::add_lora). The model stays as
    /// it was.
    pub fn load_adapter(
        &mut self,
        name: &str,
        folder: impl AsRef<Path>,
        architecture: Head,
    ) -> Result<()> {
        self.check_new_adapter(name)?;
        self.check_head(architecture)?;
        let folder = folder.as_ref();
        let path = folder.join(CONFIG);
        let file = path.display().to_string();
        let value = read_json(&path, "; an adapter's folder needs an adapter_config.json")?;
        let Stored { lora, whole, task } = Stored::read(value, self.config(), &file)?;
        if let (Some(stored), Some(wanted)) = (task, task_type(architecture))
            && stored != wanted
        {
            let expected = format!("{wanted:?} for a {} head", architecture.name());
            return Err(Error::config(&file, "task_type", expected, format!("{stored:?}")));
        }
        let mut specs = lora.specs(name, self.config(), &file)?;
        let head = own_head_specs(self.config(), architecture).into_iter();
        specs.extend(head.filter(|spec| whole.iter().any(|module| is_in(spec.stored(), module))));
        let weights = folder.join(WEIGHTS);
        if !weights.is_file() {
            return Err(no_weights(folder));
        }
        let weights = TensorFile::open(&weights)?;
        let (tensors, heads) = self.read_adapter(&weights, &specs)?;
        for (name, tensor) in heads {
            copy_into(&find(&self.plain_parameters(), &name)?, &tensor)?;
        }
        self.insert_adapter(name, lora, tensors)
    }

    /// The tensors of all `specs` and no others, those of adapters and those of a head.
    fn read_adapter(&self, file: &TensorFile, specs: &[Spec]) -> Result<(Tensors, Tensors)> {
        let names = self.config().architecture.names();
        let mut left = BTreeMap::new();
        for stored in file.names() {
            // An adapter of a bare encoder has no encoder's prefix.
            let within = stored.strip_prefix(PREFIX);
            let name = within.map(|name| format!("{PREFIX}{}", names.prefixed(name)));
            let name = name.unwrap_or_else(|| stored.clone());
            if let Some(other) = left.insert(name, stored) {
                return Err(Error::damaged(file.path(), format!("tensor {other} is there twice")));
            }
        }
        let (mut adapter, mut head) = (BTreeMap::new(), BTreeMap::new());
        for spec in specs {
            let wanted = format!("{PREFIX}{}", spec.stored());
            let Some(stored) = left.remove(&wanted) else {
                let reason = format!("lacks tensor {wanted}, of {CONFIG}");
                return Err(Error::damaged(file.path(), reason));
            };
            let source = "as adapter_config.json and the model say";
            let tensor = read_weight(file, &stored, &spec.shape, self.device(), source)?;
            let part = if spec.name.starts_with(ADAPTERS) { &mut adapter } else { &mut head };
            part.insert(spec.name.clone(), tensor);
        }
        match left.into_values().next() {
            Some(stray) => {
                let reason = format!(
                    "tensor {stray} is neither of target_modules nor, by modules_to_save, of the \
                     head that was asked for"
                );
                Err(Error::damaged(file.path(), reason))
            }
            None => Ok((adapter, head)),
        }
    }

    /// Writes an adapter as PEFT does for the transformers class of `architecture`, float32:
    /// `adapter_config.json` and `adapter_model.safetensors`, with the weights of the class's head
    /// (`modules_to_save`) but for a masked-LM head. Creates the folder if it is missing, and
    /// writes each file whole or not at all.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none of that name; [`Error::NoHead`]; [`Error::Io`];
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
    pub fn save_adapter(
        &self,
        name: &str,
        folder: impl AsRef<Path>,
        architecture: Head,
    ) -> Result<()> {
        self.check_head(architecture)?;
        let lora = &self.adapter(name)?.lora;
        let (config, folder) = (self.config(), folder.as_ref());
        let names = config.architecture.names();
        let head = own_head_specs(config, architecture);
        let whole: BTreeSet<String> = head
            .iter()
            .map(|spec| {
                let within = spec.stored().strip_prefix(names.prefix);
                let module = within.unwrap_or(spec.stored()).split('.').next().unwrap_or_default();
                format!("{}{module}", within.map_or("", |_| names.prefix))
            })
            .collect();
        let parameters: Tensors = self.named_parameters().into_iter().collect();
        let mut tensors = BTreeMap::new();
        for spec in lora.specs(name, config, CONFIG)?.into_iter().chain(head) {
            let stored = match architecture {
                Head::None => spec.stored().strip_prefix(names.prefix).unwrap_or(spec.stored()),
                _ => spec.stored(),
            };
            tensors.insert(format!("{PREFIX}{stored}"), find(&parameters, &spec.name)?);
        }
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        write_weights(&folder.join(WEIGHTS), &mut tensors, Kind::Float)?;
        let whole = if whole.is_empty() { Value::Null } else { json!(whole) };
        let value = json!({
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "modules_to_save": whole,
            "peft_type": "LORA",
            "r": lora.rank,
            "target_modules": target_modules(lora, config)?,
            "task_type": task_type(architecture),
            "use_dora": false,
            "use_rslora": false,
        });
        write_json(&folder.join(CONFIG), &value)
    }

    fn check_head(&self, head: Head) -> Result<()> {
        match head == Head::None || self.heads().contains(&head) {
            true => Ok(()),
            false => Err(Error::NoHead { head: head.name() }),
        }
    }
}

type Tensors = BTreeMap<String, Tensor>;

impl Stored {
    fn read(value: Value, config: &Config, file: &str) -> Result<Self> {
        let mut fields = Fields::new(value, file)?;
        let kind: Option<String> = fields.take("peft_type", "\"LORA\"", None)?;
        if kind.as_deref() != Some("LORA") {
            return Err(fields.refuse("peft_type", "\"LORA\"", format!("{kind:?}")));
        }
        let modules = "a list of modules' names";
        let start = fields.take("init_lora_weights", "true, false or a name", json!(true))?;
        // Others change the base's weights.
        if !start.is_boolean() && start != "gaussian" {
            let expected = "true, false or \"gaussian\"";
            return Err(fields.refuse("init_lora_weights", expected, brief(&start)));
        }
        let targets: Vec<String> = fields.take("target_modules", modules, Vec::new())?;
        let lora = LoraConfig {
            rank: fields.take("r", COUNT, 8)?,
            alpha: fields.take("lora_alpha", RATE, 8.0)?,
            dropout: fields.take("lora_dropout", RATE, 0.0)?,
            targets: [].into(),
        };
        let lora = LoraConfig { targets: found_targets(&targets, config, file)?, ..lora };
        let whole: Option<Vec<String>> = fields.take("modules_to_save", modules, None)?;
        let task = fields.take("task_type", "a name or null", None)?;
        for (key, value) in fields.rest()? {
            let off = match &value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text == "none",
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                _ => false,
            };
            if !off && !INFORMATION.contains(&key.as_str()) {
                let expected = "nothing: this option is not understood";
                return Err(Error::config(file, key, expected, brief(&value)));
            }
        }
        Ok(Self { lora, whole: whole.unwrap_or_default(), task })
    }
}

/// The targets that modules' names fit, which may leave out where they begin, as PEFT has it: the
/// same in every layer.
fn found_targets(modules: &[String], config: &Config, file: &str) -> Result<BTreeSet<LoraTarget>> {
    let fits = |module: &String, name: &str| {
        name.strip_suffix(module.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let names = config.architecture.names();
    let mut found = BTreeSet::new();
    let refuse =
        |expected: &str, got: String| Err(Error::config(file, "target_modules", expected, got));
    let mut products = Vec::new();
    for (product, targets) in config.architecture.products() {
        let count = (0..config.num_hidden_layers)
            .filter(|&index| {
                let name = format!("{}.{product}", names.layer(index));
                modules.iter().any(|module| fits(module, &name))
            })
            .count();
        if i64::try_from(count) == Ok(config.num_hidden_layers) {
            found.extend(targets.iter().copied());
            products.push(*product);
        } else if count > 0 {
            return refuse("the same in every layer", format!("{product} in {count} layers"));
        }
    }
    let of_targets = LoraConfig { targets: found.clone(), ..LoraConfig::default() };
    if of_targets.products(&config.architecture, file)? != products {
        return refuse("EuroBERT's gate_proj and up_proj together", format!("{products:?}"));
    }
    Ok(found)
}

/// Modules' names that fit the products of `lora` and no others.
fn target_modules(lora: &LoraConfig, config: &Config) -> Result<Vec<String>> {
    let mut modules = Vec::new();
    for product in lora.products(&config.architecture, CONFIG)? {
        // Attention's ends with these words, too.
        match product {
            "output.dense" => modules
                .extend((0..config.num_hidden_layers).map(|index| format!("{index}.{product}"))),
            _ => modules.push(product.to_owned()),
        }
    }
    Ok(modules)
}

/// The head's parameters that an adapter's folder may hold: a masked-LM head is the base's.
fn own_head_specs(config: &Config, head: Head) -> Vec<Spec> {
    match head {
        Head::MaskedLm => Vec::new(),
        _ => head_specs(config, head),
    }
}

/// Whether a parameter is of a module, whose name may leave out where it begins.
fn is_in(parameter: &str, module: &str) -> bool {
    format!(".{parameter}").contains(&format!(".{module}."))
}

fn task_type(head: Head) -> Option<&'static str> {
    match head {
        Head::None | Head::MaskedLm => None,
        Head::Span => Some("QUESTION_ANS"),
        Head::TokenClassification { .. } => Some("TOKEN_CLS"),
        Head::SequenceClassification { .. } => Some("SEQ_CLS"),
    }
}

fn no_weights(folder: &Path) -> Error {
    let reason = match folder.join("adapter_model.bin").exists() {
        true => {
            "holds adapter_model.bin only, a Python pickle that can run code when it is opened, so \
             it is not read; `save_pretrained(DIR)` of today's PEFT writes adapter_model.safetensors"
        }
        false => "adapter_config.json is there, but no adapter_model.safetensors",
    };
    Error::NoWeights { path: folder.to_owned(), reason: reason.into() }
}
