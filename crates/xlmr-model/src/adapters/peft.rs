//! LoRA in the format of PEFT, and mixtures of LoRA modules in a similar format.
use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::adapters::adapter::AdapterConfig;
use crate::adapters::folder::{CONFIG_FILE, Tensors, open_weights, reject_unknown_keys};
use crate::adapters::mixture::MixtureGate;
use crate::config::fields::{Fields, INTEGER, NUMBER, shorten};
use crate::config::json_file::write_json;
use crate::folder::save::write_weights;
use crate::{Config, Error, Head, LoraConfig, LoraMixtureConfig, LoraTarget, Model, Result};

pub(crate) const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// Prefix of parameter names in PEFT's files.
pub(crate) const NAME_PREFIX: &str = "base_model.model.";

/// Keys that do not affect the computation.
const UNUSED_KEYS: [&str; 8] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
];

impl Model {
    /// Reads a LoRA and its tensors, including the tensors of `head` if the folder has them.
    pub(crate) fn read_peft(
        &self,
        name: &str,
        folder: &Path,
        value: Value,
        file: &str,
        head: Head,
    ) -> Result<(AdapterConfig, Tensors)> {
        let StoredConfig { lora, mixture, saved_modules, task } =
            StoredConfig::read(value, self.config(), file)?;
        if let (Some(stored), Some(expected_task)) = (task, task_type(head))
            && stored != expected_task
        {
            let expected = format!("{expected_task:?} for a {} head", head.name());
            return Err(Error::config(file, "task_type", expected, format!("{stored:?}")));
        }
        let config = match mixture {
            None => AdapterConfig::Lora(lora),
            Some(MixtureKeys { modules, gate, languages }) => {
                AdapterConfig::Mixture(LoraMixtureConfig { modules, gate, languages, lora })
            }
        };
        let mut specs = config.specs(name, self.config(), file)?;
        let head_specs = self.adapter_head_specs(head).into_iter();
        specs.extend(head_specs.filter(|spec| {
            saved_modules.iter().any(|module| belongs_to(spec.stored_name(), module))
        }));
        let weights = open_weights(folder, WEIGHTS_FILE, "adapter_model.bin")?;
        Ok((config, self.read_tensors(&weights, &specs, NAME_PREFIX, (".", "."))?))
    }

    pub(crate) fn write_peft(
        &self,
        name: &str,
        adapter: &AdapterConfig,
        folder: &Path,
        head: Head,
    ) -> Result<()> {
        let config = self.config();
        let (lora, mixture) = match adapter {
            AdapterConfig::Lora(lora) => (lora, None),
            AdapterConfig::Mixture(mixture) => (&mixture.lora, Some(mixture)),
            AdapterConfig::Bottleneck(_) | AdapterConfig::Fusion(_) => {
                unreachable!("the caller writes a LoRA or a mixture")
            }
        };
        let head_specs = self.adapter_head_specs(head);
        let prefix = config.architecture.names().prefix;
        // Returns the outermost module of a parameter. The name of BERT's pooler starts with the
        // encoder's prefix, so its module is this prefix and the component after it.
        let outermost_module = |stored: &str| {
            let unprefixed = stored.strip_prefix(prefix);
            let name = unprefixed.unwrap_or(stored);
            let first = name.split_once('.').map_or(name, |(first, _)| first);
            format!("{}{first}", unprefixed.map_or("", |_| prefix))
        };
        let saved_modules: BTreeSet<String> =
            head_specs.iter().map(|spec| outermost_module(spec.stored_name())).collect();
        let mut specs = adapter.specs(name, config, CONFIG_FILE)?;
        specs.extend(head_specs);
        let mut tensors = self.stored_tensors(&specs, NAME_PREFIX, head)?;
        write_weights(&folder.join(WEIGHTS_FILE), &mut tensors)?;
        let mut value = json!({
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "modules_to_save": if saved_modules.is_empty() { Value::Null } else { json!(saved_modules) },
            "peft_type": "LORA",
            "r": lora.rank,
            "target_modules": target_modules(lora, config)?,
            "task_type": task_type(head),
            "use_dora": false,
            "use_rslora": false,
        });
        if let Some(LoraMixtureConfig { modules, gate, languages, .. }) = mixture {
            value["peft_type"] = json!(MIXTURE_TYPE);
            let (modules, gate, languages) = (*modules, *gate, languages.clone());
            value[MIXTURE_KEY] = json!(MixtureKeys { modules, gate, languages });
        }
        write_json(&folder.join(CONFIG_FILE), &value)
    }
}

/// `peft_type` of a mixture of LoRA modules. PEFT has no such type, and rejects it.
const MIXTURE_TYPE: &str = "LORA_MIXTURE";
/// The key of a mixture's own options.
const MIXTURE_KEY: &str = "lora_mixture";

/// The options of a mixture other than those of its modules.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MixtureKeys {
    modules: i64,
    gate: MixtureGate,
    languages: Vec<String>,
}

/// Supported values of `peft_type`.
const PEFT_TYPES: &str = "\"LORA\" or \"LORA_MIXTURE\"";

/// Contents of `adapter_config.json`.
struct StoredConfig {
    lora: LoraConfig,
    /// The options of a mixture; `None` for a LoRA.
    mixture: Option<MixtureKeys>,
    /// Modules of the head whose weights are stored in the folder.
    saved_modules: Vec<String>,
    task: Option<String>,
}

impl StoredConfig {
    fn read(value: Value, config: &Config, file: &str) -> Result<Self> {
        let mut fields = Fields::new(value, file)?;
        let peft_type: Option<String> = fields.take("peft_type", PEFT_TYPES, None)?;
        let mixture = match peft_type.as_deref() {
            Some("LORA") => None,
            Some(MIXTURE_TYPE) => {
                let expected =
                    "modules, gate (\"shared\" or \"per_language\") and a list of languages";
                let keys: Option<MixtureKeys> = fields.take(MIXTURE_KEY, expected, None)?;
                Some(keys.ok_or_else(|| fields.error(MIXTURE_KEY, expected, "none".into()))?)
            }
            _ => return Err(fields.error("peft_type", PEFT_TYPES, format!("{peft_type:?}"))),
        };
        let expected_modules = "a list of modules' names";
        let init = fields.take("init_lora_weights", "true, false or a name", json!(true))?;
        // All other named initialisation methods change the base model's weights, so they are
        // rejected.
        if !init.is_boolean() && init != "gaussian" {
            let expected = "true, false or \"gaussian\"";
            return Err(fields.error("init_lora_weights", expected, shorten(&init)));
        }
        let targets: Vec<String> = fields.take("target_modules", expected_modules, Vec::new())?;
        let lora = LoraConfig {
            rank: fields.take("r", INTEGER, 8)?,
            alpha: fields.take("lora_alpha", NUMBER, 8.0)?,
            dropout: fields.take("lora_dropout", NUMBER, 0.0)?,
            targets: match_targets(&targets, config, file)?,
        };
        let saved_modules: Option<Vec<String>> =
            fields.take("modules_to_save", expected_modules, None)?;
        let task = fields.take("task_type", "a name or null", None)?;
        reject_unknown_keys(fields, file, |key| UNUSED_KEYS.contains(&key))?;
        let saved_modules = saved_modules.into_iter().flatten().collect();
        Ok(Self { lora, mixture, saved_modules, task })
    }
}

/// Returns the targets whose linear layers match one of the names `modules`. As in PEFT, these
/// names may omit leading components. Returns an error if a linear layer matches in some encoder
/// layers only.
fn match_targets(modules: &[String], config: &Config, file: &str) -> Result<BTreeSet<LoraTarget>> {
    let matches = |module: &String, name: &str| {
        name.strip_suffix(module.as_str())
            .is_some_and(|leading| leading.is_empty() || leading.ends_with('.'))
    };
    let names = config.architecture.names();
    let mut lora_targets = BTreeSet::new();
    let refuse =
        |expected: &str, got: String| Err(Error::config(file, "target_modules", expected, got));
    let mut matched_layers = Vec::new();
    for (linear_name, targets) in names.linear_layers {
        let n_layers = (0..config.num_hidden_layers)
            .filter(|&index| {
                let name = format!("{}.{linear_name}", names.layer_name(index));
                modules.iter().any(|module| matches(module, &name))
            })
            .count();
        if i64::try_from(n_layers) == Ok(config.num_hidden_layers) {
            lora_targets.extend(targets.iter().copied());
            matched_layers.push(*linear_name);
        } else if n_layers > 0 {
            let got = format!("{linear_name} in {n_layers} layers");
            return refuse("the same targets in every layer", got);
        }
    }
    let lora = LoraConfig { targets: lora_targets.clone(), ..LoraConfig::default() };
    if lora.adapted_layers(&config.architecture, file)? != matched_layers {
        return refuse("EuroBERT's gate_proj and up_proj together", format!("{matched_layers:?}"));
    }
    Ok(lora_targets)
}

/// Returns module names that match only the linear layers of `lora`.
fn target_modules(lora: &LoraConfig, config: &Config) -> Result<Vec<String>> {
    let mut modules = Vec::new();
    for linear_name in lora.adapted_layers(&config.architecture, CONFIG_FILE)? {
        // `output.dense` would also match `attention.output.dense`, so this name includes the index
        // of the encoder layer.
        match linear_name {
            "output.dense" => modules.extend(
                (0..config.num_hidden_layers).map(|index| format!("{index}.{linear_name}")),
            ),
            _ => modules.push(linear_name.to_owned()),
        }
    }
    Ok(modules)
}

/// Returns whether a parameter belongs to a module. The module's name may omit leading components.
fn belongs_to(parameter: &str, module: &str) -> bool {
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
