//! Tests of the values of absent keys in config.json against transformers 4 and 5.
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{PythonPackages, fixture, python_with, transformers_4_packages};
use xlmr_model::{Config, Head};

use crate::common::read_json;

/// Keys that this crate does not write to config.json, and their effect.
const OTHER_KEYS: [(&str, &str); 15] = [
    ("add_cross_attention", "other values are rejected"),
    ("deterministic_flash_attn", "no effect"),
    ("head_dim", "only hidden_size / num_attention_heads"),
    ("is_decoder", "other values are rejected"),
    ("mask_token_id", "no effect"),
    ("model_type", "required"),
    ("num_labels", "equal"),
    ("position_embedding_type", "other values are rejected"),
    ("pretraining_tp", "no effect"),
    ("repad_logits_with_grad", "no effect"),
    ("sep_token_id", "no effect"),
    ("sparse_pred_ignore_index", "no effect"),
    ("sparse_prediction", "no effect"),
    ("summary_", "no effect"),
    ("pooler_hidden_size", "only hidden_size"),
];

/// Default values by version and model type.
fn stored_defaults() -> BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>> {
    serde_json::from_value(read_json(&fixture("config_defaults.json"))).unwrap()
}

fn config_of(model_type: &str) -> Config {
    Config::from_json(json!({"model_type": model_type}), "c").unwrap()
}

/// Returns whether two JSON values are equal; 0 and 0.0 are equal.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Returns this crate's value of an absent key; `None` if the key is not written.
fn own_default(config: &Config, key: &str) -> Option<Value> {
    let value = config.to_json().get(key)?.clone();
    // The written value of these keys is the one that an absent value implies.
    Some(match (key, &value) {
        ("pos_att_type", Value::Array(terms)) if terms.is_empty() => Value::Null,
        ("num_key_value_heads", Value::Null) => json!(config.num_attention_heads),
        _ => value,
    })
}

/// Returns the rows of docs/reference/config-defaults.md. A value that differs from that of
/// transformers is an error.
fn table() -> String {
    let stored = stored_defaults();
    assert_eq!(stored.len(), 2);
    // Versions by key, value and model type.
    let mut rows: BTreeMap<(&str, String, String), BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for (version, model_types) in &stored {
        for (model_type, defaults) in model_types {
            let config = config_of(model_type);
            for (key, expected) in defaults {
                let here = if let Some(value) = own_default(&config, key) {
                    assert!(is_equal(&value, expected), "{version} {model_type}: {key}: {value}");
                    "equal"
                } else {
                    let matches = |(name, _): &&(&str, &str)| key.starts_with(name);
                    let found = OTHER_KEYS.iter().find(matches);
                    found.unwrap_or_else(|| panic!("{model_type}: {key}")).1
                };
                let title = match expected {
                    Value::Array(list) => format!("{} values", list.len()),
                    Value::Number(number) => json!(number.as_f64()).to_string(),
                    _ => expected.to_string(),
                };
                let title = title.strip_suffix(".0").unwrap_or(&title).to_owned();
                let row = rows.entry((key, title, here.to_owned())).or_default();
                row.entry(model_type).or_default().push(version);
            }
        }
    }
    let mut text = String::new();
    for ((key, value, here), model_types) in rows {
        // EuroBERT is not in transformers 4.
        let mut by_versions: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for (model_type, versions) in model_types {
            let all = versions.len() == 2 || model_type == "eurobert";
            by_versions
                .entry(if all { vec!["both"] } else { versions })
                .or_default()
                .push(model_type);
        }
        for (versions, model_types) in by_versions {
            let model_types = match model_types.len() {
                13 => "all".to_owned(),
                _ => model_types.join(", "),
            };
            let versions = versions.join(", ");
            text += &format!("| `{key}` | `{value}` | {model_types} | {versions} | {here} |\n");
        }
    }
    text
}

#[test]
fn absent_keys_take_the_defaults_of_both_versions_of_transformers() {
    let rows = table();
    assert!(rows.lines().count() > 80, "{rows}");
    let page = fixture("../../../docs/reference/config-defaults.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&rows), "docs/reference/config-defaults.md must have the rows\n{rows}");
    for model_type in stored_defaults()["5.24.0"].keys() {
        let config = config_of(model_type);
        assert_eq!((config.num_labels(), config.head().unwrap()), (2, Head::None), "{model_type}");
    }
}

/// Prints the rotary settings and the pattern of layers for each JSON configuration in standard
/// input, or null if the configuration is an error.
const SCRIPT: &str = "
import json, sys
import transformers
version = int(transformers.__version__.split('.')[0])
def settings(config):
    kind = dict(config)
    name = {'modernbert': 'ModernBertConfig', 'eurobert': 'EuroBertConfig'}[kind.pop('model_type')]
    if not hasattr(transformers, name):
        return None
    c = getattr(transformers, name)(**kind)
    if name == 'EuroBertConfig':
        return [c.rope_parameters['rope_theta']]
    if version == 4:
        n = c.global_attn_every_n_layers
        kinds = ['sliding_attention' if i % n else 'full_attention' for i in range(c.num_hidden_layers)]
        local = c.global_rope_theta if c.local_rope_theta is None else c.local_rope_theta
        return [c.global_rope_theta, local, c.local_attention // 2, kinds]
    r = c.rope_parameters
    thetas = [r[k]['rope_theta'] for k in ('full_attention', 'sliding_attention')]
    return [*thetas, c.sliding_window, c.layer_types]
print(json.dumps([settings(config) for config in json.load(sys.stdin)]))
";

/// Returns the values that [`SCRIPT`] prints.
fn own_settings(config: &Value) -> Value {
    let written = Config::from_json(config.clone(), "c").unwrap().to_json();
    let rotary = &written["rope_parameters"];
    if config["model_type"] == "eurobert" {
        return json!([rotary["rope_theta"]]);
    }
    let half_window = written["local_attention"].as_i64().unwrap() / 2;
    let theta = |kind: &str| &rotary[kind]["rope_theta"];
    json!([
        theta("full_attention"),
        theta("sliding_attention"),
        half_window,
        written["layer_types"]
    ])
}

#[test]
fn keys_of_one_version_mean_what_this_version_reads() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let modern = |mut keys: Value| {
        keys["model_type"] = json!("modernbert");
        keys["num_hidden_layers"] = json!(4);
        keys
    };
    let euro = |mut keys: Value| {
        keys["model_type"] = json!("eurobert");
        keys
    };
    let full = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
    // Whether transformers 4 and 5 read the value as this crate does.
    let cases = [
        (modern(json!({})), [true, true]),
        (modern(json!({"global_rope_theta": 7.0})), [true, true]),
        (modern(json!({"local_rope_theta": 8.0})), [true, true]),
        (modern(json!({"global_attn_every_n_layers": 2})), [true, true]),
        (modern(json!({"local_attention": 64})), [true, true]),
        // null means the value of global_rope_theta in transformers 4; transformers 5 cannot open
        // such a model.
        (modern(json!({"global_rope_theta": 5.0, "local_rope_theta": null})), [true, false]),
        // transformers 4 does not read the keys of transformers 5.
        (modern(json!({"rope_parameters": {"full_attention": full(5.0)}})), [false, true]),
        (
            modern(json!({"rope_parameters": {"sliding_attention": {"rope_type": "default"}},
                "global_rope_theta": 7.0, "local_rope_theta": 8.0})),
            [true, true],
        ),
        (
            modern(json!({"rope_parameters": {"full_attention": full(5.0)},
                "global_rope_theta": 7.0})),
            [false, true],
        ),
        (modern(json!({"layer_types": vec!["full_attention"; 4]})), [false, true]),
        (modern(json!({"sliding_window": 10})), [false, true]),
        (euro(json!({})), [false, true]),
        (euro(json!({"rope_theta": 3.0})), [false, true]),
        (euro(json!({"rope_parameters": {"rope_type": "default"}})), [false, true]),
        (euro(json!({"rope_parameters": full(4.0), "rope_theta": 3.0})), [false, true]),
        (
            euro(json!({"rope_parameters": {"rope_type": "default"}, "rope_theta": 3.0})),
            [false, true],
        ),
    ];
    let configs: Vec<&Value> = cases.iter().map(|(config, _)| config).collect();
    let mut versions = vec![(1, None)];
    versions.extend(transformers_4_packages().map(|packages| (0, Some(packages))));
    for (version, packages) in versions {
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(packages) = packages {
            command.env("PYTHONPATH", packages);
        }
        let mut child = command.spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), &configs).unwrap();
        let output = child.wait_with_output().unwrap();
        let theirs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(theirs.len(), cases.len());
        for ((config, expected), theirs) in cases.iter().zip(theirs) {
            let ours = own_settings(config);
            assert_eq!(ours == theirs, expected[version], "{config}: {ours}, {theirs}");
        }
    }
}
