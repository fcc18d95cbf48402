//! Bottleneck adapters and their fusions in AdapterHub's folders.
use std::path::Path;

use serde_json::{Map, Value, json};
use torch_ext::TensorFile;

use crate::adapters::adapter::AdapterConfig;
use crate::adapters::folder::{CONFIG_FILE, Tensors, open_weights, reject_unknown_keys};
use crate::config::fields::{Fields, INTEGER, shorten};
use crate::config::json_file::{read_json, write_json};
use crate::folder::save::write_weights;
use crate::{Activation, BottleneckConfig, Error, Head, Model, Result};

pub(crate) const WEIGHTS_FILE: &str = "adapter.safetensors";
const HEAD_FILE: &str = "model_head.safetensors";
const HEAD_CONFIG_FILE: &str = "head_config.json";
pub(crate) const FUSION_CONFIG_FILE: &str = "adapter_fusion_config.json";
pub(crate) const FUSION_FILE: &str = "model_adapter_fusion.safetensors";

/// Returns the keys of a bottleneck's `config` with their supported values, which select one
/// adapter after each feed-forward layer. A file may omit any of these keys.
fn bottleneck_options() -> Map<String, Value> {
    let Value::Object(options) = json!({
        "adapter_residual_before_ln": false,
        "cross_adapter": false,
        "dropout": 0.0,
        "inv_adapter": null,
        "is_parallel": false,
        "leave_out": [],
        "ln_after": false,
        "ln_before": false,
        "mh_adapter": false,
        "original_ln_after": true,
        "original_ln_before": true,
        "output_adapter": true,
        "phm_layer": false,
        "residual_before_ln": true,
        "scaling": 1.0,
        "stochastic_depth": 0.0,
        "use_gating": false,
    }) else {
        unreachable!("the value is an object");
    };
    options
}

impl Model {
    /// Reads a bottleneck and its tensors, and the tensors of `head` if the folder has them.
    pub(crate) fn read_adapter_hub(
        &self,
        name: &str,
        folder: &Path,
        value: Value,
        file: &str,
        head: Head,
    ) -> Result<(AdapterConfig, Tensors)> {
        let mut fields = Fields::new(value, file)?;
        let stored_name: String = fields.take("name", "the adapter's name", String::new())?;
        let config = parse_bottleneck(fields.take("config", "an object", Value::Null)?, file)?;
        let config = AdapterConfig::Bottleneck(config);
        let specs = config.specs(name, self.config(), file)?;
        let weights = open_weights(folder, WEIGHTS_FILE, "pytorch_adapter.bin")?;
        let [stored_part, local_part] =
            [&stored_name, name].map(|name| format!(".adapters.{name}."));
        let mut tensors = self.read_tensors(&weights, &specs, "", (&stored_part, &local_part))?;
        let head_path = folder.join(HEAD_FILE);
        if head != Head::None && head_path.is_file() {
            let head_file = TensorFile::open(head_path)?;
            // AdapterHub treats BERT's pooler as a part of the encoder, so it does not save the
            // pooler with the head.
            let prefix = self.config().architecture.names().prefix;
            let mut specs = self.adapter_head_specs(head);
            specs.retain(|spec| {
                !spec.stored_name().starts_with(prefix) || head_file.contains(spec.stored_name())
            });
            tensors.extend(self.read_tensors(&head_file, &specs, "", (".", "."))?);
        }
        Ok((config, tensors))
    }

    pub(crate) fn write_adapter_hub(
        &self,
        name: &str,
        bottleneck: &BottleneckConfig,
        folder: &Path,
        head: Head,
    ) -> Result<()> {
        let config = self.config();
        let specs = AdapterConfig::Bottleneck(*bottleneck).specs(name, config, CONFIG_FILE)?;
        let mut tensors = self.stored_tensors(&specs, "", head)?;
        write_weights(&folder.join(WEIGHTS_FILE), &mut tensors)?;
        let head_specs = self.adapter_head_specs(head);
        let with_metadata = |config, name| self.with_metadata(config, name, head);
        if !head_specs.is_empty() {
            let mut tensors = self.stored_tensors(&head_specs, "", head)?;
            write_weights(&folder.join(HEAD_FILE), &mut tensors)?;
            write_json(&folder.join(HEAD_CONFIG_FILE), &with_metadata(Value::Null, None))?;
        }
        let mut options = bottleneck_options();
        options.insert("reduction_factor".into(), json!(bottleneck.reduction));
        options.insert("non_linearity".into(), json!(bottleneck.activation));
        write_json(&folder.join(CONFIG_FILE), &with_metadata(Value::Object(options), Some(name)))
    }

    /// Returns an object with the adapter's configuration and AdapterHub's metadata keys.
    fn with_metadata(&self, config: Value, name: Option<&str>, head: Head) -> Value {
        json!({
            "config": config,
            "hidden_size": self.config().hidden_size,
            "model_class": head.class(&self.config().architecture),
            "model_name": null,
            "model_type": self.config().architecture.model_type(),
            "name": name,
            "version": "adapters.1.3.0",
        })
    }

    /// Reads the name, configuration and tensors of a fusion. Returns an error if the model already
    /// has this fusion.
    pub(crate) fn read_fusion(&self, folder: &Path) -> Result<(String, AdapterConfig, Tensors)> {
        let path = folder.join(FUSION_CONFIG_FILE);
        let file = path.display().to_string();
        let value = read_json(&path, "; a fusion's folder needs an adapter_fusion_config.json")?;
        let mut fields = Fields::new(value, &file)?;
        let stored_name: String = fields.take("name", "the fusion's name", String::new())?;
        let default_names = stored_name.split(',').map(str::to_owned).collect();
        let names: Vec<String> = fields.take("adapter_names", "a list of names", default_names)?;
        let mut options = Fields::new(fields.take("config", "an object", Value::Null)?, &file)?;
        require_options(&mut options, fusion_options())?;
        reject_unknown_keys(options, &file, |key| IGNORED_OPTIONS.contains(&key))?;
        let name_refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let (name, config) = self.new_fusion(&name_refs).map_err(|error| match error {
            Error::Input { expected, got, .. } => {
                Error::config(&file, "adapter_names", expected, got)
            }
            error => error,
        })?;
        let weights = open_weights(folder, FUSION_FILE, "pytorch_model_adapter_fusion.bin")?;
        let [stored_part, local_part] =
            [&stored_name, &name].map(|name| format!(".adapter_fusion_layer.{name}."));
        let specs = config.specs(&name, self.config(), &file)?;
        let tensors = self.read_tensors(&weights, &specs, "", (&stored_part, &local_part))?;
        Ok((name, config, tensors))
    }

    pub(crate) fn write_fusion(&self, name: &str, names: &[String], folder: &Path) -> Result<()> {
        let config = AdapterConfig::Fusion(names.to_vec());
        // AdapterHub stores a fusion with the encoder's prefix even if the model is a bare encoder.
        let head = Head::MaskedLm;
        let mut tensors =
            self.stored_tensors(&config.specs(name, self.config(), FUSION_CONFIG_FILE)?, "", head)?;
        write_weights(&folder.join(FUSION_FILE), &mut tensors)?;
        let mut options = fusion_options();
        options.extend(IGNORED_OPTIONS.map(|key| (key.into(), json!(true))));
        let mut value = self.with_metadata(Value::Object(options), Some(name), head);
        if let Value::Object(value) = &mut value {
            value.insert("adapter_names".into(), json!(names));
        }
        write_json(&folder.join(FUSION_CONFIG_FILE), &value)
    }
}

/// Keys that do not affect the outputs of a fusion with stored weights: initialisation of V,
/// regularisation of V in training, and whether V is applied before or after the weighted sum.
const IGNORED_OPTIONS: [&str; 3] = ["value_initialized", "regularization", "value_before_softmax"];

/// Returns the keys of a fusion's `config` with their supported values. A file may omit any of
/// these keys.
fn fusion_options() -> Map<String, Value> {
    let Value::Object(options) = json!({
        "dropout_prob": null,
        "key": true,
        "query": true,
        "query_before_ln": false,
        "residual_before": false,
        "temperature": false,
        "value": true,
    }) else {
        unreachable!("the value is an object");
    };
    options
}

/// Returns an error if the value of a key differs from its value in `supported`.
fn require_options(fields: &mut Fields, supported: Map<String, Value>) -> Result<()> {
    for (key, expected) in supported {
        let actual = fields.take(&key, "", expected.clone())?;
        // Numbers are compared as floats, so that 1 equals 1.0.
        if actual != expected && (actual.as_f64().is_none() || actual.as_f64() != expected.as_f64())
        {
            return Err(fields.error(&key, &expected.to_string(), shorten(&actual)));
        }
    }
    Ok(())
}

fn parse_bottleneck(value: Value, file: &str) -> Result<BottleneckConfig> {
    let mut fields = Fields::new(value, file)?;
    require_options(&mut fields, bottleneck_options())?;
    let reduction = fields.take("reduction_factor", INTEGER, 16)?;
    let activation = fields.take("non_linearity", Activation::EXPECTED, Activation::Relu)?;
    // Options of weight initialisation do not affect stored weights. Options of hypercomplex layers
    // have no effect, because `phm_layer` must be false.
    let ignored_key_parts = ["init_weights", "phm", "hypercomplex"];
    reject_unknown_keys(fields, file, |key| {
        ignored_key_parts.iter().any(|part| key.contains(part))
    })?;
    Ok(BottleneckConfig { reduction, activation })
}
