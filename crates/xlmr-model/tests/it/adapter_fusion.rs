//! Tests of AdapterFusion in every architecture: outputs, training and folders.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use testkit::{Golden, assert_close, assert_contains, max_abs_error};
use xlmr_model::{BottleneckConfig, Config, Error, Head, Inputs, LoraConfig, Model, Role};

use crate::adapter_folder::{compare_outputs, hub_folder};
use crate::adapters::{ALL_TARGETS, BOTTLENECK, encode, lora, new_model, perturb, small_configs};
use crate::common::{
    SEQUENCE, assert_equal_parameters, edit_json, edit_tensors, ids, load_case, open_folder,
    parameters, read_json, read_tensors, small_config, temporary_copy,
};

/// Creates a model with the bottlenecks `names` and their active fusion.
fn model_with_fusion(config: &Config, names: &[&str]) -> Model {
    let mut model = new_model(config);
    for name in names {
        model.add_bottleneck(name, &BOTTLENECK, 1).unwrap();
        perturb(&model, name);
    }
    model.add_adapter_fusion(names, 1).unwrap();
    model.set_active_fusion(names).unwrap();
    model
}

const NAMES: [&str; 4] = ["ep", "tp", "es", "ts"];

#[test]
fn a_fusion_of_equal_adapters_equals_the_adapter_for_any_query() {
    for config in small_configs() {
        let mut model = model_with_fusion(&config, &NAMES);
        let tensors = parameters(&model);
        for (name, tensor) in &tensors {
            if let Some(suffix) = name.strip_prefix("adapters.ep.") {
                for other_name in &NAMES[1..] {
                    let other = &tensors[&format!("adapters.{other_name}.{suffix}")];
                    tch::no_grad(|| other.shallow_clone().copy_(tensor));
                }
            }
        }
        let fused_states = encode(&model);
        model.set_active_adapters(&["ep"]).unwrap();
        let single_states = encode(&model);
        assert!(max_abs_error(&single_states, &encode(&new_model(&config))) > 1e-2);
        // The bound is above rounding errors, because V has 1e-6 outside its diagonal.
        assert_close("new", &fused_states, &single_states, 2e-5);
        model.set_active_fusion(&NAMES).unwrap();
        perturb(&model, "ep,tp,es,ts");
        for (name, tensor) in &tensors {
            if Role::AdapterFusion.matches(name) && name.ends_with(".value.weight") {
                let identity = Tensor::eye(16, (Kind::Float, Device::Cpu));
                tch::no_grad(|| tensor.shallow_clone().copy_(&identity));
            }
        }
        assert_close("perturbed", &encode(&model), &single_states, 1e-5);
    }
}

/// Compares a fusion with AdapterHub's equation, computed with separate keys and values of each
/// adapter. A layer without a final norm adds the fusion's output to the output that the layer has
/// without adapters. The expected output is the output without adapters plus the weighted sum of
/// the values.
#[test]
fn a_fusion_after_layers_without_a_norm_computes_adapter_hubs_equation() {
    for config in &small_configs()[2..4] {
        let mut model = model_with_fusion(config, &["one", "second", "third"]);
        perturb(&model, "one,second,third");
        let inputs = Inputs::new(ids(3, 9));
        let first_layer_states = |model: &Model| {
            let states = model.embed(&inputs, false).unwrap();
            model.run_layers(states, 0..1).unwrap().to_padded().unwrap()
        };
        let fused_states = first_layer_states(&model);
        model.set_active_adapters(&[]).unwrap();
        let t = first_layer_states(&model); // u + x
        let tensors = parameters(&model);
        let linear = |name: &str, x: &Tensor| {
            let out = x.matmul(&tensors[&format!("{name}.weight")].tr());
            tensors.get(&format!("{name}.bias")).map_or(out.shallow_clone(), |bias| &out + bias)
        };
        let fusion_name = "adapter_fusion.one,second,third.model.layers.0";
        let query = linear(&format!("{fusion_name}.query"), &t);
        let (mut scores, mut values) = (Vec::new(), Vec::new());
        for name in ["one", "second", "third"] {
            let layer = format!("adapters.{name}.model.layers.0.adapter");
            let output =
                linear(&format!("{layer}_up"), &linear(&format!("{layer}_down"), &t).gelu("none"));
            let key = linear(&format!("{fusion_name}.key"), &output);
            scores.push((&query * key).sum_dim_intlist(-1, false, Kind::Float));
            values.push(linear(&format!("{fusion_name}.value"), &output));
        }
        let weights = Tensor::stack(&scores, -1).softmax(-1, Kind::Float);
        let (min, max) = (weights.min().double_value(&[]), weights.max().double_value(&[]));
        assert!(min < 0.25 && max > 0.45, "weights are too similar: {min} {max}");
        let expected = &t
            + (weights.unsqueeze(-1) * Tensor::stack(&values, -2)).sum_dim_intlist(
                -2,
                false,
                Kind::Float,
            );
        assert!(max_abs_error(&expected, &t) > 1e-2);
        assert_close("states", &fused_states, &expected, 1e-5);
    }
}

#[test]
fn a_fusion_has_the_published_parameters_and_initialisation() {
    let config = Config { hidden_size: 768, num_attention_heads: 12, ..small_config() };
    let mut model = Model::new(&config, &[], Device::Cpu, 1).unwrap();
    for name in NAMES {
        model.add_bottleneck(name, &BottleneckConfig::default(), 1).unwrap();
    }
    model.add_adapter_fusion(&NAMES, 7).unwrap();
    let count = |role: Role| {
        let tensors = model.named_parameters().into_iter();
        tensors.filter(|(name, _)| role.matches(name)).map(|(_, t)| t.numel()).sum::<usize>()
    };
    // The tested model has 2 layers. A model with 12 layers has six times as many adapter
    // parameters.
    assert_eq!(count(Role::AdapterFusion), 2 * 1_771_008);
    assert_eq!(6 * count(Role::AdapterFusion), 21_252_096);
    assert_eq!(6 * count(Role::Adapters), 3_578_112);
    let tensors = parameters(&model);
    let get = |part: &str| {
        &tensors[&format!("adapter_fusion.ep,tp,es,ts.roberta.encoder.layer.1.{part}")]
    };
    for part in ["query", "key"] {
        let weight = get(&format!("{part}.weight"));
        assert!((weight.std(false).double_value(&[]) - 0.02).abs() < 1e-4);
        assert!(weight.mean(Kind::Float).double_value(&[]).abs() < 1e-4);
        assert_eq!(get(&format!("{part}.bias")).abs().max().double_value(&[]), 0.0);
    }
    assert!(!get("query.weight").equal(get("key.weight")));
    let identity = Tensor::eye(768, (Kind::Float, Device::Cpu));
    let off_diagonal = get("value.weight") - &identity;
    assert_eq!(off_diagonal.diagonal(0, 0, 1).abs().max().double_value(&[]), 0.0);
    assert!(max_abs_error(&off_diagonal, &((1.0 - identity) * 1e-6)) < 1e-12);
    let query_weight = |seed: u64| {
        let mut model = Model::new(&small_config(), &[], Device::Cpu, 1).unwrap();
        for name in ["one", "two"] {
            model.add_bottleneck(name, &BOTTLENECK, 1).unwrap();
        }
        model.add_adapter_fusion(&["one", "two"], seed).unwrap();
        parameters(&model)["adapter_fusion.one,two.roberta.encoder.layer.0.query.weight"].copy()
    };
    assert!(query_weight(1).equal(&query_weight(1)) && !query_weight(1).equal(&query_weight(2)));
}

#[test]
fn loras_can_be_combined_with_a_fusion() {
    let mut model = model_with_fusion(&small_config(), &["ep", "tp"]);
    model.add_lora("one", &lora(&ALL_TARGETS), 1).unwrap();
    perturb(&model, "one");
    let fused_states = encode(&model);
    model.set_active_adapters(&["one", "ep,tp"]).unwrap();
    assert_eq!(model.active_adapters(), ["one", "ep,tp"]);
    let with_lora = encode(&model);
    assert!(max_abs_error(&with_lora, &fused_states) > 1e-2);
    model.merge("one").unwrap();
    assert_close("merged", &encode(&model), &with_lora, 1e-5);
    assert!(model.adapters().eq(["ep", "ep,tp", "tp"]));
}

#[test]
fn invalid_names_are_rejected() {
    let mut model = model_with_fusion(&small_config(), &["ep", "tp"]);
    model.add_lora("one", &LoraConfig::default(), 1).unwrap();
    let assert_error = |result: xlmr_model::Result<()>, parts: &[&str]| {
        assert_contains(&result.unwrap_err().to_string(), parts);
    };
    for (names, parts) in [
        (&["ep", "none"][..], &["one of [ep, ep,tp, one, tp]", "none"][..]),
        (&["ep", "one"], &["a bottleneck", "one"]),
        (&["ep,tp", "tp"], &["a bottleneck", "ep,tp"]),
        (&["ep", "ep"], &["each name once", "ep"]),
        (&["ep"], &["two bottlenecks or more", "ep"]),
        (&[], &["two bottlenecks or more"]),
        (&["ep", "tp"], &["a new fusion", "ep,tp"]),
    ] {
        assert_error(model.add_adapter_fusion(names, 1), parts);
    }
    assert_error(model.set_active_fusion(&["tp", "ep"]), &["one of [ep, ep,tp, one, tp]", "tp,ep"]);
    assert_error(
        model.set_active_adapters(&["ep", "tp"]),
        &["one bottleneck or fusion", "ep and tp"],
    );
    assert_error(
        model.set_active_adapters(&["ep,tp", "tp"]),
        &["one bottleneck or fusion", "ep,tp and tp"],
    );
    assert_error(model.merge("ep,tp"), &["a LoRA", "ep,tp"]);
    assert_error(model.add_bottleneck("ep,tp", &BOTTLENECK, 1), &["ASCII letters"]);
    let folder = tempfile::tempdir().unwrap();
    assert_error(model.save_adapter_fusion(&["tp", "ep"], folder.path()), &["one of [", "tp,ep"]);
    assert_eq!(model.active_adapters(), ["ep,tp"]);
}

/// Fusions that AdapterHub saved: name, base model, head and bottlenecks of the fusion.
const HUB_CASES: [(&str, &str, Head, &[&str]); 2] = [
    ("fused", "qa", Head::None, &["ep", "tp", "es"]),
    ("bert_fused", "bert_seqcls", SEQUENCE, &["one", "two"]),
];

/// Loads the base model of the case `name` and the bottlenecks `names` of this case.
fn with_bottlenecks(name: &str, base_name: &str, head: Head, names: &[&str]) -> Model {
    let mut model = load_case(base_name, &[head]);
    for bottleneck in names {
        model.load_adapter(bottleneck, hub_folder(name).join(bottleneck), head).unwrap();
    }
    model
}

#[test]
fn outputs_and_written_tensors_match_adapter_hub() {
    for (name, base_name, head, names) in HUB_CASES {
        let mut model = with_bottlenecks(name, base_name, head, names);
        let published = hub_folder(name).join("fusion");
        assert_eq!(model.load_adapter_fusion(&published).unwrap(), names);
        model.set_active_fusion(names).unwrap();
        let stored =
            Golden::load(&hub_folder(name).join("outputs.safetensors"), Tensor::read_safetensors);
        compare_outputs(name, &model, base_name, head, &stored, "");
        let folder = tempfile::tempdir().unwrap();
        model.save_adapter_fusion(names, folder.path()).unwrap();
        let config = |folder: &Path| read_json(&folder.join("adapter_fusion_config.json"));
        let (written, published_json) = (config(folder.path()), config(&published));
        for key in ["config", "adapter_names", "hidden_size", "model_type", "version"] {
            assert_eq!(written[key], published_json[key], "{name}: {key}");
        }
        assert!(written.as_object().unwrap().keys().eq(published_json.as_object().unwrap().keys()));
        let (file, stored_name) =
            ("model_adapter_fusion.safetensors", published_json["name"].as_str().unwrap());
        let written = read_tensors(&folder.path().join(file));
        let published_tensors = read_tensors(&published.join(file));
        assert_eq!(written.len(), published_tensors.len());
        for (key, tensor) in published_tensors {
            let key = key.replace(&format!(".{stored_name}."), &format!(".{}.", names.join(",")));
            let key = if head == Head::None { format!("roberta.{key}") } else { key };
            assert!(written[&key].equal(&tensor), "{name}: {key}");
        }
        let mut reloaded = with_bottlenecks(name, base_name, head, names);
        reloaded.load_adapter_fusion(folder.path()).unwrap();
        reloaded.set_active_fusion(names).unwrap();
        assert!(encode(&reloaded).equal(&encode(&model)));
    }
}

/// Copies the fusion of the case `fused` to a temporary folder.
fn copy_fusion() -> TempDir {
    temporary_copy(&hub_folder("fused").join("fusion"))
}

/// Loads a folder that must be rejected. Asserts that the error message contains `parts` and that
/// the model does not change, and returns the error.
fn expect_error(folder: &Path, parts: &[&str]) -> Error {
    let mut model = with_bottlenecks("fused", "qa", Head::None, &["ep", "tp", "es"]);
    let error = model.load_adapter_fusion(folder).unwrap_err();
    let message = error.to_string();
    assert_contains(&message, parts);
    assert!(model.adapters().eq(["ep", "es", "tp"]));
    assert_eq!(message.lines().count(), 1);
    error
}

#[test]
fn invalid_folders_are_rejected_with_file_and_name() {
    const CONFIG_FILE: &str = "adapter_fusion_config.json";
    let edited_copy = |edit: &dyn Fn(&mut Map<String, Value>)| {
        let folder = copy_fusion();
        edit_json(&folder.path().join(CONFIG_FILE), |config| edit(config));
        folder
    };
    for (key, value) in [
        ("key", json!(false)),
        ("query", json!(false)),
        ("value", json!(false)),
        ("query_before_ln", json!(true)),
        ("residual_before", json!(true)),
        ("temperature", json!(true)),
        ("dropout_prob", json!(0.2)),
        ("something_new", json!(1)),
    ] {
        let folder = edited_copy(&|config| config["config"][key] = value.clone());
        assert!(matches!(
            expect_error(folder.path(), &[CONFIG_FILE, &format!("`{key}`")]),
            Error::Config { .. }
        ));
    }
    for (names, parts) in [
        (json!(["ep", "tp", "none"]), &["one of [ep, es, tp]", "none"][..]),
        (json!(["ep", "tp", "../es"]), &["one of [ep, es, tp]", "../es"]),
        (json!(["ep", "tp", "tp"]), &["each name once", "tp"]),
        (json!(["ep"]), &["two bottlenecks or more", "ep"]),
        (json!([]), &["two bottlenecks or more"]),
        (json!("ep"), &["a list of names"]),
        (json!([1, 2]), &["a list of names"]),
    ] {
        let folder =
            edited_copy(&|config| _ = config.insert("adapter_names".into(), names.clone()));
        expect_error(folder.path(), &[&[CONFIG_FILE, "`adapter_names`"], parts].concat());
    }
    // Without `adapter_names`, the adapters are taken from `name`.
    let folder = edited_copy(&|config| _ = config.remove("adapter_names"));
    let mut model = with_bottlenecks("fused", "qa", Head::None, &["ep", "tp", "es"]);
    assert_eq!(model.load_adapter_fusion(folder.path()).unwrap(), ["ep", "tp", "es"]);
    for (bytes, part) in
        [(&b"{"[..], "not valid JSON"), (b"[]", "a JSON object"), (b"{}", "a JSON object")]
    {
        fs::write(folder.path().join(CONFIG_FILE), bytes).unwrap();
        expect_error(folder.path(), &[CONFIG_FILE, part]);
    }
    fs::remove_file(folder.path().join(CONFIG_FILE)).unwrap();
    expect_error(folder.path(), &["needs an adapter_fusion_config.json"]);

    const WEIGHTS_FILE: &str = "model_adapter_fusion.safetensors";
    let edited_copy = |edit: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let folder = copy_fusion();
        edit_tensors(&folder.path().join(WEIGHTS_FILE), |tensors| edit(tensors));
        folder
    };
    let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let key = "encoder.layer.1.output.adapter_fusion_layer.ep,tp,es.key.weight";
    let folder = edited_copy(&|tensors| assert!(tensors.remove(key).is_some()));
    expect_error(folder.path(), &[WEIGHTS_FILE, "lacks tensor", key]);
    for unexpected in
        ["stray", &key.replace("layer.1", "layer.9"), &key.replace("key", "value.bias")]
    {
        let folder = edited_copy(&|tensors| _ = tensors.insert(unexpected.into(), zeros(&[32])));
        expect_error(folder.path(), &[WEIGHTS_FILE, unexpected]);
    }
    let folder = edited_copy(&|tensors| _ = tensors.insert(key.into(), zeros(&[32, 31])));
    expect_error(folder.path(), &[WEIGHTS_FILE, key, "[32, 32]", "[32, 31]"]);
    let folder = copy_fusion();
    fs::remove_file(folder.path().join(WEIGHTS_FILE)).unwrap();
    expect_error(folder.path(), &["no model_adapter_fusion.safetensors"]);
    fs::write(folder.path().join("pytorch_model_adapter_fusion.bin"), b"x").unwrap();
    expect_error(folder.path(), &["pytorch_model_adapter_fusion.bin", "pickle"]);
    // The model has another hidden size than the fusion's base model.
    let mut other_base = model_with_fusion(&small_config(), &["ep", "tp"]);
    other_base.add_bottleneck("es", &BOTTLENECK, 1).unwrap();
    let error =
        other_base.load_adapter_fusion(hub_folder("fused").join("fusion")).unwrap_err().to_string();
    assert!(error.contains(WEIGHTS_FILE) && error.contains("[16, 16]"), "{error}");
}

#[test]
fn a_fusion_is_stored_in_the_models_folder() {
    for config in small_configs() {
        let mut model = model_with_fusion(&config, &["ep", "third"]);
        model.add_adapter_fusion(&["third", "ep"], 2).unwrap();
        model.add_lora("a", &lora(&ALL_TARGETS), 1).unwrap();
        for name in ["a", "ep,third", "third,ep"] {
            perturb(&model, name);
        }
        model.set_active_adapters(&["ep,third", "a"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), Head::Span).unwrap();
        let mut reloaded = open_folder(folder.path(), &[Head::Span]).unwrap().0;
        assert_eq!(reloaded.active_adapters(), ["ep,third", "a"]);
        assert!(encode(&reloaded).equal(&encode(&model)), "{:?}", config.architecture);
        assert_equal_parameters(&reloaded, &model);
        reloaded.set_active_fusion(&["third", "ep"]).unwrap();
        assert!(max_abs_error(&encode(&reloaded), &encode(&model)) > 1e-3);
        new_model(&config).save(folder.path(), Head::Span).unwrap();
        assert!(!folder.path().join("adapters").exists());
    }
    let assert_error = |edit: &dyn Fn(&Path), parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        model_with_fusion(&small_config(), &["ep", "tp"]).save(folder.path(), Head::Span).unwrap();
        edit(&folder.path().join("adapters"));
        let error = open_folder(folder.path(), &[Head::Span]).unwrap_err();
        assert_contains(&error.to_string(), parts);
    };
    let with_names = |names: Value| {
        move |adapters: &Path| {
            edit_json(&adapters.join("active.json"), |json| {
                json.insert("adapters".into(), names.clone());
            });
        }
    };
    let list_file = "adapters/active.json";
    for invalid_name in ["ep,../tp", ",", "ep,", "../x,ep"] {
        assert_error(
            &with_names(json!(["ep", "tp", invalid_name])),
            &[list_file, "`adapters`", "ASCII letters"],
        );
    }
    assert_error(
        &with_names(json!(["ep", "ep,tp"])),
        &["ep,tp/adapter_fusion_config.json", "adapter_names"],
    );
    assert_error(
        &|adapters| {
            fs::rename(adapters.join("ep,tp"), adapters.join("tp,ep")).unwrap();
            with_names(json!(["ep", "tp", "tp,ep"]))(adapters);
        },
        &["tp,ep/adapter_fusion_config.json", "`adapter_names`", "expected tp,ep, got ep,tp"],
    );
    assert_error(
        &|adapters| fs::remove_file(adapters.join("ep,tp/adapter_fusion_config.json")).unwrap(),
        &["ep,tp/adapter_fusion_config.json"],
    );
}
