//! Adapters of a recipe: trained parameters per stage, stored files and invalid settings.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use experiment::{BaseModel, Experiment, Recipe, RunConfig, Trial};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, TrainConfig};
use xlmr_model::{Head, Inputs, LoadOptions, Model, Role, Segments};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Stages {
    run: RunConfig,
    model: BaseModel,
    training: TrainConfig,
    arms: BTreeMap<String, u8>,
}

impl Recipe for Stages {
    const NAME: &'static str = "stages";
    const ABOUT: &'static str = "Minimises hidden states.";
    const EXAMPLES: &'static str = "stages recipe.toml --model data/base";
    experiment::recipe_fields!(u8, stages: ["first", "second", "third"]);

    fn validate(&self) -> anyhow::Result<()> {
        self.model.limits()?;
        Ok(self.training.validate()?)
    }
}

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/base");

/// Parses a recipe with additional lines in the sections `[model]` and `[training]`.
fn recipe(adapters: &str, training: &str) -> Stages {
    let text = format!(
        "[run]\ndevice = \"cpu\"\nthreads = 1\n[model]\npath = {BASE:?}\n{adapters}\n\
         [training]\nsteps = 2\nlearning_rate = 0.01\n{training}\n[arms]\none = 1\n"
    );
    toml::from_str(&text).unwrap()
}

struct HiddenNorm<'a>(&'a Model);

impl Task for HiddenNorm<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&[4; 8])
    }

    fn fingerprint(&self, _: &mut Fingerprint) {}

    fn losses(&mut self, _: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let inputs = Inputs::from_rows(&[&[0, 70, 83, 2], &[0, 95, 9, 2]], 1)?;
        let inputs = inputs.with_languages(["en", "de"]);
        let hidden = self.0.encode(&inputs, true)?;
        let (starts, _) = self.0.span_logits(&hidden, true)?;
        let loss = starts.square().mean(Kind::Float) + hidden.abs().mean(Kind::Float);
        Ok(StepLosses::single("size", loss))
    }
}

type Parameters = BTreeMap<String, Tensor>;

fn copy_parameters(model: &Model) -> Parameters {
    model.named_parameters().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

/// The roles of the parameters that differ between `before` and `after`.
fn changed_roles(before: &Parameters, after: &Parameters) -> BTreeSet<&'static str> {
    let roles = ["encoder", "adapters", "head"];
    let changed_parameters = after.iter().filter(|(name, value)| !before[*name].equal(value));
    let role =
        |name: &str| roles.into_iter().find(|role| role.parse::<Role>().unwrap().matches(name));
    changed_parameters.map(|(name, _)| role(name).unwrap()).collect()
}

/// The parameter names in the last checkpoint of a stage.
fn checkpoint_names(trial: &Trial<Stages>, stage: &str) -> BTreeSet<String> {
    let path = trial.dir(stage).join("checkpoints/step-00000002/parameters.safetensors");
    Tensor::read_safetensors(path).unwrap().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn only_adapters_and_heads_are_trained_except_in_named_stages() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = "adapters = { encoder_learns_in = [\"second\"], lora = { rank = 2 }, \
                    bottleneck = { reduction = 8 } }";
    // The first group has only encoder parameters and is ignored; the second group freezes the
    // head.
    let training = "groups = [{ roles = [\"word_embeddings\"], learning_rate = 1.0 }, \
                    { roles = [\"encoder\", \"head\"], frozen = true }]";
    let experiment = Experiment::open(recipe(adapters, training), folder.path()).unwrap();
    let train = |trial: &Trial<Stages>| {
        let path = &trial.recipe.model.path;
        let mut base = trial.load_model(path, &[Head::Span], Segments::AsSaved)?;
        assert_eq!(base.model.active_adapters(), ["lora", "bottleneck"]);
        let (parameters, start) = (base.model.named_parameters(), copy_parameters(&base.model));
        let fit = |stage: &str, config: &TrainConfig| -> anyhow::Result<Parameters> {
            trial.fit(stage, config, &parameters, &mut HiddenNorm(&base.model))?;
            Ok(copy_parameters(&base.model))
        };
        let without_groups = TrainConfig { groups: Vec::new(), ..trial.recipe.training.clone() };
        let first = fit("first", &without_groups)?;
        assert_eq!(changed_roles(&start, &first), ["adapters", "head"].into());
        let is_trained = |name: &&String| !Role::Encoder.matches(name);
        assert!(checkpoint_names(trial, "first").iter().eq(start.keys().filter(is_trained)));
        let second = fit("second", &without_groups)?;
        assert_eq!(changed_roles(&first, &second), ["adapters", "encoder", "head"].into());
        assert!(checkpoint_names(trial, "second").iter().eq(start.keys()));
        let third = fit("third", &trial.recipe.training)?;
        assert_eq!(changed_roles(&second, &third), ["adapters"].into());
        assert!(checkpoint_names(trial, "third").iter().eq(start.keys().filter(is_trained)));
        trial.save(&mut base, Head::Span, trial.dir("model"))?;
        Ok(())
    };
    experiment.each(train, |_, ()| Ok(())).unwrap();
    let trial = folder.path().join("seed-0/one");
    let adapter_config =
        std::fs::read_to_string(trial.join("adapter/adapter_config.json")).unwrap();
    assert!(adapter_config.contains("\"LORA\""), "{adapter_config}");
    let options = LoadOptions::default();
    let (model, _) = Model::load(trial.join("model"), &[Head::Span], Device::Cpu, options).unwrap();
    assert_eq!(model.active_adapters(), ["bottleneck"]);
}

/// Trains one stage from `start` with a bottleneck, and returns the folder of the model.
fn train_from(start: &Path, reduction: u8, out: &Path) -> Result<PathBuf, String> {
    train_adapters(start, &format!("bottleneck = {{ reduction = {reduction} }}"), out)
}

/// Trains one stage from `start` with adapters, and returns the folder of the model.
fn train_adapters(start: &Path, adapters: &str, out: &Path) -> Result<PathBuf, String> {
    let mut recipe = recipe(&format!("adapters = {{ {adapters} }}"), "");
    recipe.model.path = start.into();
    let experiment = Experiment::open(recipe, out).map_err(|error| error.to_string())?;
    let train = |trial: &Trial<Stages>| {
        let path = &trial.recipe.model.path;
        let mut base = trial.load_model(path, &[Head::Span], Segments::AsSaved)?;
        let parameters = base.model.named_parameters();
        let config = &trial.recipe.training;
        trial.fit("first", config, &parameters, &mut HiddenNorm(&base.model))?;
        Ok(trial.save(&mut base, Head::Span, trial.dir("model"))?)
    };
    experiment.each(train, |_, ()| Ok(())).map_err(|error| match error {
        experiment::Error::Trial { source, .. } => format!("{source:#}"),
        error => error.to_string(),
    })?;
    Ok(out.join("seed-0/one/model"))
}

#[test]
fn a_bottleneck_does_not_change_the_base_and_can_be_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    let load = |folder: &Path| {
        let heads = [Head::Span];
        copy_parameters(
            &Model::load(folder, &heads, Device::Cpu, LoadOptions::default()).unwrap().0,
        )
    };
    let first = train_from(Path::new(BASE), 8, &path_of("first")).unwrap();
    let (base, parameters_1) = (load(Path::new(BASE)), load(&first));
    for (name, value) in base.iter().filter(|(name, _)| Role::Encoder.matches(name)) {
        assert!(parameters_1[name].equal(value), "{name}");
    }
    let second = train_from(&first, 8, &path_of("second")).unwrap();
    let parameters_2 = load(&second);
    assert!(parameters_1.keys().eq(parameters_2.keys()) && parameters_1.len() > base.len());
    assert_eq!(changed_roles(&parameters_1, &parameters_2), ["adapters", "head"].into());
    let error = train_from(&first, 4, &path_of("third")).unwrap_err();
    assert!(error.contains("bottleneck") && error.contains("a new name"), "{error}");
    // Weights of adapters are part of the identity of model.path, like encoder weights.
    let weights_file = first.join("adapters/bottleneck/adapter.safetensors");
    let mut tensors = Tensor::read_safetensors(&weights_file).unwrap();
    for (_, tensor) in &mut tensors {
        let _ = tensor.f_add_scalar_(1.0).unwrap();
    }
    Tensor::write_safetensors(&tensors, &weights_file).unwrap();
    let error = train_from(&first, 8, &path_of("second")).unwrap_err();
    assert!(error.contains("adapters/bottleneck/adapter.safetensors of model.path"), "{error}");
}

#[test]
fn a_mixture_is_merged_if_its_gate_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    for (keys, active) in
        [("gate = \"shared\"", &[][..]), ("languages = [\"en\", \"de\", \"zh\"]", &["mixture"])]
    {
        let adapters = format!("mixture = {{ modules = 2, lora = {{ rank = 2 }}, {keys} }}");
        let out = folder.path().join(format!("{}-active", active.len()));
        let saved = train_adapters(Path::new(BASE), &adapters, &out).unwrap();
        let config = std::fs::read_to_string(out.join("seed-0/one/adapter/adapter_config.json"));
        assert!(config.unwrap().contains("LORA_MIXTURE"));
        let options = LoadOptions::default();
        let (model, _) = Model::load(saved, &[Head::Span], Device::Cpu, options).unwrap();
        assert_eq!(model.active_adapters(), active);
        let parameters = model.named_parameters().into_iter();
        let gates = parameters.filter(|(name, _)| name.ends_with("lora_gate.weight"));
        let gates: Vec<Tensor> = gates.map(|(_, gate)| gate.detach()).collect();
        assert_eq!(gates.is_empty(), active.is_empty());
        for gate in gates {
            let changed = |row: i64| gate.get(row).abs().max().double_value(&[]) > 0.0;
            assert_eq!([0, 1, 2].map(changed), [true, true, false], "no row is Chinese");
        }
    }
}

#[test]
fn invalid_adapters_are_rejected_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let assert_rejected = |adapters: &str, training: &str, expected: &[&str]| {
        let result = Experiment::open(recipe(adapters, training), &out);
        let error = result.err().map(|error| format!("{:#}", anyhow::Error::from(error))).unwrap();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        assert!(!out.exists());
    };
    let stages = "adapters = { encoder_learns_in = [\"first\", \"fit\"], lora = { rank = 2 } }";
    assert_rejected(stages, "", &["encoder_learns_in", "\"fit\"", "first, second, third"]);
    assert_rejected("adapters = {}", "", &["model.adapters: give lora.rank"]);
    assert_rejected("adapters = { lora = { rank = 0 } }", "", &["model.adapters: lora", "r"]);
    let bottleneck = "adapters = { bottleneck = { reduction = 0 } }";
    assert_rejected(bottleneck, "", &["model.adapters.bottleneck.reduction = 0"]);
    let mixture = "adapters = { mixture = { modules = 3 } }";
    assert_rejected(mixture, "", &["model.adapters: mixture: key `languages`", "distinct names"]);
    let both = "adapters = { lora = {}, mixture = { gate = \"shared\" } }";
    assert_rejected(both, "", &["model.adapters: give either lora or mixture"]);
    assert_rejected("adapters = { lora = {} }", "keep_models = true", &["keep_models"]);
}

#[test]
fn absent_adapters_are_not_serialised() {
    let model = BaseModel { path: "base".into(), ..BaseModel::default() };
    assert_eq!(toml::to_string(&model).unwrap(), "path = \"base\"\nsegments = \"as_saved\"\n");
}
