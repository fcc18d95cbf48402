//! Bottleneck adapters and their fusions in AdapterHub's folders.
use std::path::Path;

use serde_json::{Map, Value, json};
use torch_ext::TensorFile;

use crate::adapter_folder::{CONFIG, Tensors, open_weights, refuse_others};
use crate::adapters::AdapterConfig;
use crate::config::{read_json, write_json};
use crate::fields::{COUNT, Fields, brief};
use crate::save::write_weights;
use crate::{Activation, BottleneckConfig, Error, Head, Model, Result};

pub(crate) const WEIGHTS: &str = "adapter.safetensors";
const HEAD: &str = "model_head.safetensors";
const HEAD_CONFIG: &str = "head_config.json";
pub(crate) const FUSION_CONFIG: &str = "adapter_fusion_config.json";
pub(crate) const FUSION: &str = "model_adapter_fusion.safetensors";

/// Supported values of `config` (keys may be absent): one adapter after each feed-forward layer.
fn shape() -> Map<String, Value> {
    let shape = json!({
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
    });
    shape.as_object().cloned().unwrap_or_default()
}

impl Model {
    /// Reads a bottleneck and its tensors, and those of the head `architecture` if the folder has
    /// them.
    pub(crate) fn read_adapter_hub(
        &self,
        name: &str,
        folder: &Path,
        value: Value,
        file: &str,
        architecture: Head,
    ) -> Result<(AdapterConfig, Tensors)> {
        let mut fields = Fields::new(value, file)?;
        let stored_name: String = fields.take("name", "the adapter's name", String::new())?;
        let config = read_config(fields.take("config", "an object", Value::Null)?, file)?;
        let config = AdapterConfig::Bottleneck(config);
        let specs = config.specs(name, self.config(), file)?;
        let weights = open_weights(folder, WEIGHTS, "pytorch_adapter.bin")?;
        let [stored_part, local_part] =
            [&stored_name, name].map(|name| format!(".adapters.{name}."));
        let mut tensors = self.read_all(&weights, &specs, "", (&stored_part, &local_part))?;
        let head = folder.join(HEAD);
        if architecture != Head::None && head.is_file() {
            let head = TensorFile::open(head)?;
            // AdapterHub counts BERT's pooler as part of the encoder and does not save it.
            let prefix = self.config().architecture.names().prefix;
            let mut specs = self.adapter_head_specs(architecture);
            specs.retain(|spec| !spec.stored().starts_with(prefix) || head.contains(spec.stored()));
            tensors.extend(self.read_all(&head, &specs, "", (".", "."))?);
        }
        Ok((config, tensors))
    }

    pub(crate) fn write_adapter_hub(
        &self,
        name: &str,
        bottleneck: &BottleneckConfig,
        folder: &Path,
        architecture: Head,
    ) -> Result<()> {
        let config = self.config();
        let specs = AdapterConfig::Bottleneck(*bottleneck).specs(name, config, CONFIG)?;
        let mut tensors = self.as_stored(&specs, "", architecture)?;
        write_weights(&folder.join(WEIGHTS), &mut tensors)?;
        let head = self.adapter_head_specs(architecture);
        let describe =
            |config: Value, name: Option<&str>| self.described(config, name, architecture);
        if !head.is_empty() {
            let mut tensors = self.as_stored(&head, "", architecture)?;
            write_weights(&folder.join(HEAD), &mut tensors)?;
            write_json(&folder.join(HEAD_CONFIG), &describe(Value::Null, None))?;
        }
        let mut shape = shape();
        shape.insert("reduction_factor".into(), json!(bottleneck.reduction));
        shape.insert("non_linearity".into(), json!(bottleneck.activation));
        write_json(&folder.join(CONFIG), &describe(Value::Object(shape), Some(name)))
    }

    /// Adds the other keys of AdapterHub's files to a configuration.
    fn described(&self, config: Value, name: Option<&str>, architecture: Head) -> Value {
        json!({
            "config": config,
            "hidden_size": self.config().hidden_size,
            "model_class": architecture.class(&self.config().architecture),
            "model_name": null,
            "model_type": self.config().architecture.model_type(),
            "name": name,
            "version": "adapters.1.3.0",
        })
    }

    /// Reads a new fusion: its name, configuration and tensors.
    pub(crate) fn read_fusion(&self, folder: &Path) -> Result<(String, AdapterConfig, Tensors)> {
        let path = folder.join(FUSION_CONFIG);
        let file = path.display().to_string();
        let value = read_json(&path, "; a fusion's folder needs an adapter_fusion_config.json")?;
        let mut fields = Fields::new(value, &file)?;
        let stored_name: String = fields.take("name", "the fusion's name", String::new())?;
        let default_names = stored_name.split(',').map(str::to_owned).collect();
        let names: Vec<String> = fields.take("adapter_names", "a list of names", default_names)?;
        let mut options = Fields::new(fields.take("config", "an object", Value::Null)?, &file)?;
        require(&mut options, fusion_shape())?;
        refuse_others(options, &file, |key| OF_VALUES.contains(&key))?;
        let name_refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let (name, config) = self.new_fusion(&name_refs).map_err(|error| match error {
            Error::Input { expected, got, .. } => {
                Error::config(&file, "adapter_names", expected, got)
            }
            other => other,
        })?;
        let weights = open_weights(folder, FUSION, "pytorch_model_adapter_fusion.bin")?;
        let [stored_part, local_part] =
            [&stored_name, &name].map(|name| format!(".adapter_fusion_layer.{name}."));
        let specs = config.specs(&name, self.config(), &file)?;
        let tensors = self.read_all(&weights, &specs, "", (&stored_part, &local_part))?;
        Ok((name, config, tensors))
    }

    pub(crate) fn write_fusion(&self, name: &str, names: &[String], folder: &Path) -> Result<()> {
        let config = AdapterConfig::Fusion(names.to_vec());
        // AdapterHub uses these names for a bare encoder as well.
        let form = Head::MaskedLm;
        let mut tensors =
            self.as_stored(&config.specs(name, self.config(), FUSION_CONFIG)?, "", form)?;
        write_weights(&folder.join(FUSION), &mut tensors)?;
        let mut shape = fusion_shape();
        shape.extend(OF_VALUES.map(|key| (key.into(), json!(true))));
        let mut value = self.described(Value::Object(shape), Some(name), form);
        if let Value::Object(value) = &mut value {
            value.insert("adapter_names".into(), json!(names));
        }
        write_json(&folder.join(FUSION_CONFIG), &value)
    }
}

/// Keys without effect on the outputs of stored weights: V's initialisation, its regularisation in
/// training, and whether V is applied before or after the weighted sum.
const OF_VALUES: [&str; 3] = ["value_initialized", "regularization", "value_before_softmax"];

/// Supported values of a fusion's `config`; keys may be absent.
fn fusion_shape() -> Map<String, Value> {
    let shape = json!({
        "dropout_prob": null,
        "key": true,
        "query": true,
        "query_before_ln": false,
        "residual_before": false,
        "temperature": false,
        "value": true,
    });
    shape.as_object().cloned().unwrap_or_default()
}

/// Rejects values that differ from `shape`.
fn require(fields: &mut Fields, shape: Map<String, Value>) -> Result<()> {
    for (key, wanted) in shape {
        let actual = fields.take(&key, "", wanted.clone())?;
        // 1 and 1.0 are equal.
        if actual != wanted && (actual.as_f64().is_none() || actual.as_f64() != wanted.as_f64()) {
            return Err(fields.refuse(&key, &wanted.to_string(), brief(&actual)));
        }
    }
    Ok(())
}

fn read_config(value: Value, file: &str) -> Result<BottleneckConfig> {
    let mut fields = Fields::new(value, file)?;
    require(&mut fields, shape())?;
    let reduction = fields.take("reduction_factor", COUNT, 16)?;
    let activation = fields.take("non_linearity", Activation::NAMES, Activation::Relu)?;
    // Options for weight initialisation and for hypercomplex layers.
    let unused = ["init_weights", "phm", "hypercomplex"];
    refuse_others(fields, file, |key| unused.iter().any(|part| key.contains(part)))?;
    Ok(BottleneckConfig { reduction, activation })
}
