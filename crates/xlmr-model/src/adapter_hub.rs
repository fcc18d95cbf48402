//! Bottleneck adapters in AdapterHub's folders.
use std::path::Path;

use serde_json::{Map, Value, json};
use tch::Kind;
use torch_ext::TensorFile;

use crate::adapter_folder::{CONFIG, Tensors, open_weights, refuse_others};
use crate::adapters::AdapterConfig;
use crate::config::write_json;
use crate::fields::{COUNT, Fields, brief};
use crate::save::write_weights;
use crate::{Activation, BottleneckConfig, Head, Model, Result};

pub(crate) const WEIGHTS: &str = "adapter.safetensors";
const HEAD: &str = "model_head.safetensors";
const HEAD_CONFIG: &str = "head_config.json";

/// What `config` must say, or leave out: one adapter behind each feed-forward layer.
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
    /// A bottleneck and its tensors, with those of `architecture`'s head where the folder has them.
    pub(crate) fn read_adapter_hub(
        &self,
        name: &str,
        folder: &Path,
        value: Value,
        file: &str,
        architecture: Head,
    ) -> Result<(AdapterConfig, Tensors)> {
        let mut fields = Fields::new(value, file)?;
        let theirs: String = fields.take("name", "the adapter's name", String::new())?;
        let config = read_config(fields.take("config", "an object", Value::Null)?, file)?;
        let config = AdapterConfig::Bottleneck(config);
        let specs = config.specs(name, self.config(), file)?;
        let weights = open_weights(folder, WEIGHTS, "pytorch_adapter.bin")?;
        let [there, here] = [&theirs, name].map(|name| format!(".adapters.{name}."));
        let mut tensors = self.read_all(&weights, &specs, "", (&there, &here))?;
        let head = folder.join(HEAD);
        if architecture != Head::None && head.is_file() {
            let head = TensorFile::open(head)?;
            // AdapterHub takes BERT's pooler for a part of the encoder, and leaves it out.
            let prefix = self.config().architecture.names().prefix;
            let mut specs = self.own_head_specs(architecture);
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
        write_weights(&folder.join(WEIGHTS), &mut tensors, Kind::Float)?;
        let head = self.own_head_specs(architecture);
        let of_model = |config: Value, name: Option<&str>| {
            json!({
                "config": config,
                "hidden_size": self.config().hidden_size,
                "model_class": architecture.class(&self.config().architecture),
                "model_name": null,
                "model_type": self.config().architecture.model_type(),
                "name": name,
                "version": "adapters.1.3.0",
            })
        };
        if !head.is_empty() {
            let mut tensors = self.as_stored(&head, "", architecture)?;
            write_weights(&folder.join(HEAD), &mut tensors, Kind::Float)?;
            write_json(&folder.join(HEAD_CONFIG), &of_model(Value::Null, None))?;
        }
        let mut shape = shape();
        shape.insert("reduction_factor".into(), json!(bottleneck.reduction));
        shape.insert("non_linearity".into(), json!(bottleneck.activation));
        write_json(&folder.join(CONFIG), &of_model(Value::Object(shape), Some(name)))
    }
}

fn read_config(value: Value, file: &str) -> Result<BottleneckConfig> {
    let mut fields = Fields::new(value, file)?;
    for (key, wanted) in shape() {
        let got = fields.take(&key, "", wanted.clone())?;
        // 1 and 1.0 are one number.
        if got != wanted && (got.as_f64().is_none() || got.as_f64() != wanted.as_f64()) {
            return Err(fields.refuse(&key, &wanted.to_string(), brief(&got)));
        }
    }
    let reduction = fields.take("reduction_factor", COUNT, 16)?;
    let activation = fields.take("non_linearity", Activation::NAMES, Activation::Relu)?;
    // How weights start, and what layers of hypercomplex products would need.
    let unused = ["init_weights", "phm", "hypercomplex"];
    refuse_others(fields, file, |key| unused.iter().any(|part| key.contains(part)))?;
    Ok(BottleneckConfig { reduction, activation })
}
