//! Tests of mixtures of LoRA modules: outputs, merged weights, gradients of gates, folders, errors.
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use testkit::{assert_close, assert_contains, max_abs_error};
use torch_ext::Precision;
use xlmr_model::{
    Architecture, Config, FusionConfig, Head, Inputs, LoraConfig, LoraMixtureConfig, LoraTarget,
    MixtureGate, Model, Role, encode_fused,
};

use crate::adapters::{ALL_TARGETS, encode, lora, new_model, perturb, small_configs};
use crate::common::{
    assert_equal_parameters, build_rows, edit_json, open_folder, small_config, zero_padding,
};

/// Targets that a gate for each language supports in every architecture.
fn targets(config: &Config) -> Vec<LoraTarget> {
    let is_deberta = matches!(config.architecture, Architecture::DebertaV2(_));
    ALL_TARGETS[if is_deberta { 2 } else { 0 }..].to_vec()
}

fn shared(targets: &[LoraTarget]) -> LoraMixtureConfig {
    LoraMixtureConfig {
        modules: 4,
        gate: MixtureGate::Shared,
        languages: Vec::new(),
        lora: lora(targets),
    }
}

fn per_language(targets: &[LoraTarget]) -> LoraMixtureConfig {
    let languages = ["en", "de", "zh"].map(String::from).to_vec();
    LoraMixtureConfig { gate: MixtureGate::PerLanguage, languages, ..shared(targets) }
}

/// Adds a mixture with random parameters and activates it.
fn add_mixture(model: &mut Model, config: &LoraMixtureConfig) {
    model.add_lora_mixture("mixture", config, 1).unwrap();
    perturb(model, "mixture");
    model.set_active_adapters(&["mixture"]).unwrap();
}

fn rows(languages: [&str; 3]) -> Inputs {
    build_rows(&[9, 4, 6], 7).with_languages(languages)
}

fn states(model: &Model, languages: [&str; 3]) -> Tensor {
    let inputs = rows(languages);
    zero_padding(&model.encode(&inputs, false).unwrap(), &inputs)
}

/// Returns configurations with hidden sizes that stay padded, and one that is packed on the CPU.
fn configs() -> Vec<Config> {
    let packed = Config { hidden_size: 256, initializer_range: 0.05, ..small_configs()[0].clone() };
    small_configs().into_iter().chain([packed]).collect()
}

#[test]
fn a_new_mixture_does_not_change_results() {
    for config in configs() {
        let mut model = new_model(&config);
        let base = states(&model, ["en", "de", "zh"]);
        model.add_lora_mixture("mixture", &per_language(&targets(&config)), 1).unwrap();
        model.set_active_adapters(&["mixture"]).unwrap();
        assert!(states(&model, ["en", "de", "zh"]).equal(&base), "{:?}", config.architecture);
        perturb(&model, "mixture");
        assert!(max_abs_error(&states(&model, ["en", "de", "zh"]), &base) > 1e-3);
        model.set_active_adapters(&[]).unwrap();
        assert!(states(&model, ["en", "de", "zh"]).equal(&base));
    }
}

#[test]
fn a_mixture_with_equal_weights_is_one_lora_of_the_same_size() {
    for config in configs() {
        let mut mixture = new_model(&config);
        let mixture_config = shared(&ALL_TARGETS);
        mixture.add_lora_mixture("same", &mixture_config, 1).unwrap();
        let mut one = new_model(&config);
        let rank = 4 * mixture_config.lora.rank;
        one.add_lora("same", &LoraConfig { rank, ..mixture_config.lora }, 1).unwrap();
        for model in [&mut mixture, &mut one] {
            perturb(model, "same");
            model.set_active_adapters(&["same"]).unwrap();
        }
        let set_gates = |value: f64| {
            for (name, mut parameter) in mixture.named_parameters() {
                if name.ends_with(".lora_gate.weight") {
                    assert_eq!(parameter.size(), [1, 4]);
                    tch::no_grad(|| _ = parameter.fill_(value));
                }
            }
        };
        set_gates(0.7);
        let [actual, expected] = [&mixture, &one].map(encode);
        assert_close("equal gates", &actual, &expected, 1e-5);
    }
}

#[test]
fn the_gate_of_each_row_is_that_of_its_language() {
    for config in configs() {
        let mut model = new_model(&config);
        add_mixture(&mut model, &per_language(&targets(&config)));
        let mixed = states(&model, ["de", "zh", "en"]);
        for (row, language) in (0..).zip(["de", "zh", "en"]) {
            let alone = states(&model, [language; 3]);
            let error = max_abs_error(&mixed.get(row), &alone.get(row));
            assert!(error < 1e-5, "{:?}: {language}: {error}", config.architecture);
            let other = if language == "en" { "de" } else { "en" };
            assert!(max_abs_error(&mixed.get(row), &states(&model, [other; 3]).get(row)) > 1e-4);
        }
    }
}

#[test]
fn merged_weights_equal_the_mixture() {
    for config in configs() {
        let mut model = new_model(&config);
        add_mixture(&mut model, &shared(&ALL_TARGETS));
        let reference = encode(&model);
        assert!(max_abs_error(&reference, &encode(&new_model(&config))) > 1e-3);
        model.merge("mixture").unwrap();
        assert_eq!(model.adapters().count(), 0);
        assert_close("shared gate", &encode(&model), &reference, 1e-5);
        for language in ["en", "zh"] {
            let mut model = new_model(&config);
            add_mixture(&mut model, &per_language(&targets(&config)));
            let reference = states(&model, [language; 3]);
            model.merge_language("mixture", language).unwrap();
            assert_close(language, &states(&model, [language; 3]), &reference, 1e-5);
        }
    }
}

fn loss(model: &Model) -> Tensor {
    let inputs = rows(["de", "zh", "de"]);
    let hidden = zero_padding(&model.encode(&inputs, true).unwrap(), &inputs);
    let weights = Tensor::arange(hidden.numel() as i64, (Kind::Double, Device::Cpu)).sin();
    (hidden.to_kind(Kind::Double) * weights.view(&hidden.size()[..])).sum(Kind::Double)
}

#[test]
fn gradients_of_gates_equal_central_differences() {
    for (config, recompute) in
        [(small_configs()[0].clone(), false), (small_configs()[2].clone(), true)]
    {
        let mut model = new_model(&config);
        add_mixture(&mut model, &per_language(&ALL_TARGETS));
        model.set_kind(Kind::Double).unwrap();
        model.set_recompute(recompute);
        let gates: Vec<(String, Tensor)> = model
            .named_parameters()
            .into_iter()
            .filter(|(name, _)| name.ends_with("lora_gate.weight"))
            .collect();
        assert!(gates.len() >= 8 && gates.iter().all(|(name, _)| Role::Adapters.matches(name)));
        loss(&model).backward();
        for (name, gate) in &gates {
            assert_eq!(gate.size(), [3, 4]);
            let gradient = gate.grad();
            assert_eq!(gradient.get(0).abs().max().double_value(&[]), 0.0, "no row is English");
            for (language, module) in [(1, 0), (2, 3)] {
                let cell = gate.detach().get(language).get(module);
                let (value, step) = (cell.double_value(&[]), 1e-5);
                let at = |value: f64| {
                    let _ = cell.shallow_clone().fill_(value);
                    loss(&model).double_value(&[])
                };
                let difference = (at(value + step) - at(value - step)) / (2.0 * step);
                at(value);
                let actual = gradient.double_value(&[language, module]);
                assert!(
                    (actual - difference).abs() < 1e-6 * (1.0 + difference.abs()),
                    "{name}: {actual} {difference}"
                );
                assert!(difference != 0.0, "{name}");
            }
        }
    }
}

#[test]
fn mixtures_are_saved_and_loaded() {
    for mixture in [shared(&ALL_TARGETS), per_language(&ALL_TARGETS)] {
        let mut model = new_model(&small_config());
        model.add_lora("one", &lora(&ALL_TARGETS), 1).unwrap();
        add_mixture(&mut model, &mixture);
        model.set_active_adapters(&["one", "mixture"]).unwrap();
        let reference = states(&model, ["en", "de", "zh"]);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), Head::Span).unwrap();
        let (reloaded, report) = open_folder(folder.path(), &[Head::Span]).unwrap();
        assert!(report.missing.is_empty());
        assert_equal_parameters(&reloaded, &model);
        assert_eq!(reloaded.active_adapters(), ["one", "mixture"]);
        assert!(states(&reloaded, ["en", "de", "zh"]).equal(&reference));
        // A separate folder contains the head, too.
        let separate = tempfile::tempdir().unwrap();
        model.save_adapter("mixture", separate.path(), Head::Span).unwrap();
        let mut other = Model::new(&small_config(), &[Head::Span], Device::Cpu, 3).unwrap();
        other.load_adapter("again", separate.path(), Head::Span).unwrap();
        other.load_adapter("one", folder.path().join("adapters/one"), Head::None).unwrap();
        other.set_active_adapters(&["one", "again"]).unwrap();
        assert!(states(&other, ["en", "de", "zh"]).equal(&reference));
        let config = separate.path().join("adapter_config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        let stored: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&stored["peft_type"], &stored["r"]), (&json!("LORA_MIXTURE"), &json!(3)));
        let keys = &stored["lora_mixture"];
        assert_eq!((&keys["modules"], &keys["languages"]), (&json!(4), &json!(mixture.languages)));
    }
}

#[test]
fn damaged_folders_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = new_model(&small_config());
    add_mixture(&mut model, &per_language(&ALL_TARGETS));
    model.save_adapter("mixture", folder.path(), Head::None).unwrap();
    let path = folder.path().join("adapter_config.json");
    let original = std::fs::read(&path).unwrap();
    for (key, value, words) in [
        ("lora_mixture", json!({"modules": 4}), vec!["lora_mixture", "languages"]),
        ("lora_mixture", json!(null), vec!["lora_mixture", "none"]),
        (
            "lora_mixture",
            json!({"modules": 3, "gate": "per_language", "languages": ["en", "de", "zh"]}),
            vec!["adapter_model.safetensors", "lora_A", "[9, 16]"],
        ),
        (
            "lora_mixture",
            json!({"modules": 4, "gate": "per_language", "languages": ["en", "de"]}),
            vec!["lora_gate.weight", "[2, 4]"],
        ),
        (
            "lora_mixture",
            json!({"modules": 4, "gate": "per_language", "languages": ["en", "en", "zh"]}),
            vec!["adapter_config.json", "languages", "distinct"],
        ),
        ("peft_type", json!("LORA"), vec!["lora_mixture", "not supported"]),
    ] {
        edit_json(&path, |config| config[key] = value);
        let error = new_model(&small_config()).load_adapter("again", folder.path(), Head::None);
        assert_contains(&error.unwrap_err().to_string(), &words);
        std::fs::write(&path, &original).unwrap();
    }
    // A mixture next to the weights is not merged into them.
    model.set_active_adapters(&[]).unwrap();
    let base = tempfile::tempdir().unwrap();
    new_model(&small_config()).save(base.path(), Head::Span).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(folder.path().join(name), base.path().join(name)).unwrap();
    }
    let error = open_folder(base.path(), &[Head::Span]).map(drop).unwrap_err();
    assert_contains(&error.to_string(), &["peft_type", "LORA_MIXTURE"]);
}

#[test]
fn invalid_options_and_languages_are_rejected() {
    let mut model = new_model(&small_config());
    let default = || per_language(&ALL_TARGETS);
    let languages = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    for (config, words) in [
        (LoraMixtureConfig { modules: 1, ..default() }, vec!["modules", "from 2"]),
        (LoraMixtureConfig { languages: Vec::new(), ..default() }, vec!["languages", "distinct"]),
        (LoraMixtureConfig { languages: languages(&["en", " "]), ..default() }, vec!["languages"]),
        (LoraMixtureConfig { gate: MixtureGate::Shared, ..default() }, vec!["languages", "shared"]),
        (
            LoraMixtureConfig { lora: LoraConfig { rank: 0, ..lora(&ALL_TARGETS) }, ..default() },
            vec!["`r`"],
        ),
    ] {
        let error = model.add_lora_mixture("mixture", &config, 1).unwrap_err();
        assert_contains(&error.to_string(), &words);
    }
    let mut deberta = new_model(&small_configs()[4]);
    let error = deberta.add_lora_mixture("mixture", &default(), 1).unwrap_err();
    assert_contains(&error.to_string(), &["target_modules", "DeBERTa", "Query"]);

    add_mixture(&mut model, &default());
    let error = model.encode(&build_rows(&[4, 5], 3), false).unwrap_err();
    assert_contains(&error.to_string(), &["languages", "one of [en, de, zh]", "`mixture`", "none"]);
    let encode = |languages: &[&str]| {
        let inputs = build_rows(&[4, 5], 3).with_languages(languages.iter().copied());
        model.encode(&inputs, false).map(drop).unwrap_err().to_string()
    };
    assert_contains(&encode(&["en", "fr"]), &["language: expected one of [en, de, zh]", "fr"]);
    assert_contains(&encode(&["en"]), &["languages", "2 rows", "1 names"]);
    let inputs = || build_rows(&[4, 5], 3).with_languages(["en", "de"]);
    let fusion = FusionConfig { local: 1, cross: 1 };
    let error = encode_fused(&model, &inputs(), &inputs(), &fusion, false).map(drop).unwrap_err();
    assert_contains(&error.to_string(), &["a gate for each language", "mixture"]);
    assert_contains(&model.merge("mixture").unwrap_err().to_string(), &["merge_language", "zh"]);
    let error = model.merge_language("mixture", "fr").unwrap_err();
    assert_contains(&error.to_string(), &["one of [en, de, zh]", "fr"]);
    // Hidden states of other adapters have no languages.
    model.set_active_adapters(&[]).unwrap();
    let embedded = model.embed(&inputs(), false).unwrap();
    model.set_active_adapters(&["mixture"]).unwrap();
    let error = model.run_layers(embedded, 0..1).map(drop).unwrap_err();
    assert_contains(&error.to_string(), &["states", "`mixture` was active"]);
    model.add_lora_mixture("second", &default(), 1).unwrap();
    let error = model.set_active_adapters(&["mixture", "second"]).unwrap_err();
    assert_contains(&error.to_string(), &["at most one mixture", "mixture and second"]);
    assert_eq!(model.active_adapters(), ["mixture"]);
    model.add_lora("one", &lora(&ALL_TARGETS), 1).unwrap();
    let error = model.merge_language("one", "en").unwrap_err();
    assert_contains(&error.to_string(), &["a mixture", "one"]);
}

#[test]
fn half_precision_is_close_to_float32() {
    let config = configs().pop().unwrap();
    let mut model = new_model(&config);
    add_mixture(&mut model, &per_language(&targets(&config)));
    let reference = states(&model, ["en", "de", "zh"]);
    let scale = reference.abs().max().double_value(&[]);
    for precision in [Precision::Bf16, Precision::Int8] {
        model.set_precision(precision).unwrap();
        let error = max_abs_error(&states(&model, ["en", "de", "zh"]), &reference);
        assert!(error > 0.0 && error < 0.05 * scale, "{precision:?}: {error} of {scale}");
    }
}
