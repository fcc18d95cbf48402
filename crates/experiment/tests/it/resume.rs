//! Tests of resumed runs: which parts are recomputed, and which changes are rejected.
use std::fs;
use std::path::Path;

use crate::toy::{TestRun, Toy, take_calls};
use experiment::{Experiment, read_recipe};
use tch::Kind;
use torch_ext::read_tensors;

const ALL_CALLS: [&str; 5] = [
    "check",
    "train seed 0, plain",
    "evaluate seed 0, plain",
    "train seed 0, far",
    "evaluate seed 0, far",
];

fn open(test_run: &TestRun, sets: &[String]) -> Experiment<Toy> {
    let recipe = read_recipe(test_run.path("toy.toml"), sets).unwrap();
    Experiment::open(recipe, test_run.out()).unwrap()
}

#[test]
fn results_are_ordered_by_seed_arm_and_variant() {
    let test_run = TestRun::new();
    let mut recipe: Toy = read_recipe(test_run.path("toy.toml"), &[]).unwrap();
    recipe.run.seeds = vec![7, 0];
    recipe.arms.get_mut("far").unwrap().languages = vec!["en-zh".into(), "en-de".into()];
    let open = || Experiment::open(recipe.clone(), test_run.out()).unwrap();
    let results = open().each(crate::toy::train, crate::toy::evaluate).unwrap();
    let order: Vec<(u64, &str, Option<&str>)> = results
        .iter()
        .map(|result| (result.seed, result.arm.as_str(), result.variant.as_deref()))
        .collect();
    let trials_of_seed =
        |seed| [(seed, "plain", None), (seed, "far", Some("en-zh")), (seed, "far", Some("en-de"))];
    assert_eq!(order, [trials_of_seed(7), trials_of_seed(0)].concat());
    assert_eq!(results.of_trial(0, "far").count(), 2);
    assert!(results.iter().all(|result| result.tokens == 12 && result.seconds > 0.0));
    for folder in ["seed-7/plain", "seed-7/far/en-zh", "seed-0/far/en-de"] {
        assert!(test_run.out().join(folder).join("result.json").exists(), "{folder}");
    }
    // Results that are read back are bit-identical.
    assert_eq!(open().each(crate::toy::train, crate::toy::evaluate).unwrap(), results);
}

#[test]
fn a_finished_run_is_loaded_without_computation() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    assert_eq!(take_calls(), ALL_CALLS);
    let summary = test_run.summary();
    let table = fs::read_to_string(test_run.out().join("table.md")).unwrap();
    assert!(table.starts_with("| distance | mean |\n|---|---:|\n| plain |"), "{table}");
    test_run.start(&[]).unwrap();
    assert!(take_calls().is_empty());
    assert_eq!(test_run.summary(), summary);
    // Intervals of checkpoints and logs, and the number of threads, are not part of the identity.
    for set in ["training.checkpoint_steps=3", "training.log_steps=1", "run.threads=2"] {
        test_run.start(&["--set", set]).unwrap();
        assert!(take_calls().is_empty(), "{set}");
    }
}

#[test]
fn commands_and_peak_memory_of_a_run_are_recorded() {
    let test_run = TestRun::new();
    let read_machine = || {
        let text = fs::read_to_string(test_run.out().join("machine.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    test_run.start(&[]).unwrap();
    let initial = read_machine();
    assert_eq!(initial["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(initial["commands"][0][0], "toy");
    let peak = |machine: &serde_json::Value| machine["peak_memory_bytes"].as_u64();
    assert!(cfg!(not(target_os = "linux")) || peak(&initial) > Some(1 << 20), "{initial}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let processors = initial["processors"].as_array().unwrap();
        assert_eq!(processors.len(), 1, "{initial}");
        assert!(processors[0].as_str().unwrap().contains(", A"), "{initial}");
    }
    // A resumed run does not record an equal command twice, and retains the recorded peak memory.
    test_run.start(&[]).unwrap();
    assert_eq!(read_machine()["commands"], initial["commands"]);
    assert!(peak(&read_machine()) >= peak(&initial));
    // Processors of other machines are retained.
    let mut elsewhere = read_machine();
    elsewhere["processors"] = serde_json::json!(["Other, AVX2"]);
    fs::write(test_run.out().join("machine.json"), elsewhere.to_string()).unwrap();
    test_run.start(&[]).unwrap();
    let count = |machine: &serde_json::Value| machine["processors"].as_array().unwrap().len();
    assert_eq!(count(&read_machine()), 1 + initial["processors"].as_array().map_or(0, Vec::len));
    // An empty or damaged file is replaced.
    for text in ["", "{"] {
        fs::write(test_run.out().join("machine.json"), text).unwrap();
        test_run.start(&[]).unwrap();
        assert_eq!(read_machine()["commands"], initial["commands"]);
    }
}

#[test]
fn seeds_and_arms_can_be_added() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    let first = test_run.summary();
    take_calls();
    test_run.start(&["--seeds", "2"]).unwrap();
    let calls_of_seed_1: Vec<String> =
        ALL_CALLS.iter().map(|call| call.replace("seed 0", "seed 1")).collect();
    assert_eq!(take_calls(), calls_of_seed_1);
    let two_seeds = test_run.summary();
    assert_eq!(two_seeds["plain"][0], first["plain"][0]);
    assert_eq!(two_seeds["plain"].len(), 2);
    test_run.start(&["--seeds", "1", "--arms", "*"]).unwrap();
    let added_calls = ["check", "train seed 0, further", "evaluate seed 0, further"];
    assert_eq!(take_calls(), added_calls);
    assert_eq!(test_run.summary().len(), 3);
    // Without a recipe argument, a resumed run uses the arms and seeds of the last start.
    let out = test_run.out();
    crate::toy::start(&["toy".into(), "--resume".into(), out]).unwrap();
    assert!(take_calls().is_empty());
    assert_eq!(test_run.summary().len(), 3);
}

#[test]
fn runs_and_inputs_can_be_moved() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    take_calls();
    let moved_folder = test_run.path("elsewhere");
    fs::rename(test_run.out(), &moved_folder).unwrap();
    test_run.start_in(&moved_folder, &[]).unwrap();
    test_run.start_in(&test_run.path("./elsewhere/../elsewhere"), &[]).unwrap();
    fs::rename(test_run.path("train.json"), test_run.path("numbers.json")).unwrap();
    let set = format!("data.train={}", test_run.path("numbers.json").display());
    test_run.start_in(&moved_folder, &["--set", &set]).unwrap();
    assert!(take_calls().is_empty());
}

#[test]
fn a_run_killed_before_its_evaluation_ends_does_not_train_again() {
    let test_run = TestRun::new();
    let trial = test_run.out().join("seed-0/plain");
    test_run.write("evaluation.json", "[]");
    let error = test_run.start(&[]).unwrap_err();
    assert!(error.starts_with("seed 0, plain: ") && error.contains("no number"), "{error}");
    assert!(trial.join("trained.json").exists() && !trial.join("result.json").exists());
    // Such files remain if a process is killed after it writes the record and before it removes the
    // checkpoints.
    fs::create_dir_all(trial.join("fit/checkpoints/step-00000006")).unwrap();
    fs::write(trial.join("model/.writing-aB3xyz"), "").unwrap();
    take_calls();
    test_run.write("evaluation.json", "[2.0, 3.0]");
    test_run.start(&[]).unwrap();
    assert_eq!(take_calls(), [&ALL_CALLS[..1], &ALL_CALLS[2..]].concat());
    assert!(!trial.join("fit/checkpoints").exists());
    assert!(!trial.join("model/.writing-aB3xyz").exists());
    assert!(trial.join("fit/metrics.jsonl").exists());
}

#[test]
fn a_removed_or_truncated_model_is_reported_and_can_be_retrained() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    let trial = test_run.out().join("seed-0/plain");
    let (model, summary) = (trial.join("model/model.json"), test_run.summary());
    let bytes = fs::read(&model).unwrap();
    take_calls();
    fs::write(&model, &bytes[..1]).unwrap();
    let error = test_run.start(&[]).unwrap_err();
    let expected = format!("has 1 bytes, but {} were written; restore it", bytes.len());
    assert!(error.contains("plain/model/model.json: ") && error.contains(&expected), "{error}");
    fs::remove_dir_all(trial.join("model")).unwrap();
    let error = test_run.start(&[]).unwrap_err();
    assert!(error.contains("was removed since it was written; restore it, or remove"), "{error}");
    assert!(error.contains("plain/trained.json to train again"), "{error}");
    assert!(take_calls().is_empty());
    fs::remove_file(trial.join("trained.json")).unwrap();
    test_run.start(&[]).unwrap();
    assert_eq!(take_calls(), ALL_CALLS[..3]);
    assert_eq!((fs::read(&model).unwrap(), test_run.summary()), (bytes, summary));
}

#[test]
fn removed_or_truncated_evaluations_are_repeated() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    let answers = test_run.out().join("seed-0/far/answers/numbers.json");
    let bytes = fs::read(&answers).unwrap();
    take_calls();
    for damage in [
        (|path| fs::write(path, "[")) as fn(&Path) -> std::io::Result<()>,
        |path| fs::remove_file(path),
        |path| fs::remove_dir_all(path.parent().unwrap()),
    ] {
        damage(&answers).unwrap();
        test_run.start(&[]).unwrap();
        assert_eq!(take_calls(), ["check", "evaluate seed 0, far"]);
        assert_eq!(fs::read(&answers).unwrap(), bytes);
        test_run.start(&[]).unwrap();
        assert!(take_calls().is_empty());
    }
}

#[test]
fn stored_parameters_are_converted_to_model_folders() {
    let test_run = TestRun::new();
    let trial = test_run.out().join("seed-0/plain");
    let options = ["--arms", "plain", "--set", "training.keep_models=true"];
    // The conversion requires a `config.json`, which the model folder of the toy recipe lacks.
    let error = test_run.start(&options).unwrap_err();
    assert!(error.contains("model/config.json"), "{error}");
    let parameter_file = |step: u32| trial.join(format!("fit/models/step-{step:08}.safetensors"));
    assert!([2, 4, 6].iter().all(|&step| parameter_file(step).exists()));
    let base = Path::new("../../data/base");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(base.join(file), trial.join("model").join(file)).unwrap();
    }
    let error = test_run.start(&options).unwrap_err();
    assert!(error.contains("step-00000002.safetensors: lm_head.bias: expected [4000]"), "{error}");
    // Stored parameters that fit the model in `model` are converted; a second start converts
    // nothing.
    for step in [2, 4, 6] {
        fs::copy(base.join("model.safetensors"), parameter_file(step)).unwrap();
    }
    test_run.start(&options).unwrap();
    let converted = parameter_file(4).with_extension("").join("model.safetensors");
    let (converted, base) =
        (read_tensors(converted).unwrap(), read_tensors(base.join("model.safetensors")).unwrap());
    assert!(converted.keys().eq(base.keys()));
    assert!(converted.iter().all(|(name, tensor)| tensor.equal(&base[name].to_kind(Kind::Float))));
    assert!([2, 4, 6].iter().all(|&step| !parameter_file(step).exists()));
    test_run.start(&options).unwrap();
}

#[test]
fn a_change_of_the_evaluation_does_not_train_again() {
    let test_run = TestRun::new();
    test_run.start(&["--arms", "plain"]).unwrap();
    let first_value = test_run.summary()["plain"][0];
    let evaluation_calls = [ALL_CALLS[0], ALL_CALLS[2]];
    take_calls();
    test_run.start(&["--arms", "plain", "--set", "evaluation.scale=2.0"]).unwrap();
    assert_eq!(take_calls(), evaluation_calls);
    assert_eq!(test_run.summary()["plain"][0], 2.0 * first_value);
    test_run.write("evaluation.json", "[0.0]");
    test_run.start(&["--arms", "plain"]).unwrap();
    assert_eq!(take_calls(), evaluation_calls);
    test_run.start(&["--arms", "plain", "--set", "arms.plain.title=Plain"]).unwrap();
    assert_eq!(take_calls(), evaluation_calls);
}

#[test]
fn a_change_of_a_training_key_is_rejected_with_its_name() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    let recipe = fs::read_to_string(test_run.out().join("recipe.toml")).unwrap();
    take_calls();
    let assert_rejected = |set: &str, expected: &str| {
        let error = test_run.start(&["--set", set]).unwrap_err();
        assert!(error.contains(expected), "{set}: {error}");
        assert!(error.contains("--out"), "{error}");
    };
    assert_rejected(
        "training.learning_rate=0.25",
        "training.learning_rate = 0.5 in the run folder, 0.25 now",
    );
    assert_rejected("training.steps=7", "training.steps = 6 in the run folder, 7 now");
    assert_rejected("arms.far.shift=1", "seed-0/far/identity.json comes from another recipe");
    assert_rejected("arms.far.shift=1", "arms.far.shift = 10.0 in the run folder, 1.0 now");
    test_run.write("train.json", "[1.0, 2.0, 3.0, 5.0]");
    let error = test_run.start(&[]).unwrap_err();
    assert!(error.contains("the input file data.train has changed"), "{error}");
    assert_eq!(fs::read_to_string(test_run.out().join("recipe.toml")).unwrap(), recipe);
    assert!(take_calls().is_empty());
    // The identity of an arm contains the keys of a second arm only if the first arm references the
    // second.
    test_run.write("train.json", "[1.0, 2.0, 3.0, 4.0]");
    test_run.start(&["--arms", "plain", "--set", "arms.far.shift=1"]).unwrap();
    test_run.start(&["--arms", "further"]).unwrap();
    take_calls();
    let set = ["--arms", "further", "--set", "arms.far.shift=1"];
    let error = test_run.start(&set).unwrap_err();
    assert!(error.contains("arms.far.shift = 10.0 in the run folder"), "{error}");
}

#[test]
fn the_recipe_may_change_before_the_first_trial() {
    let test_run = TestRun::new();
    for set in ["training.steps=3", "training.steps=4"] {
        drop(open(&test_run, &[set.into()]));
    }
}

#[test]
fn an_interrupted_training_of_another_recipe_is_rejected() {
    let test_run = TestRun::new();
    test_run.start(&["--arms", "far"]).unwrap();
    let trial = test_run.out().join("seed-0/far");
    fs::remove_file(trial.join("trained.json")).unwrap();
    fs::remove_file(trial.join("result.json")).unwrap();
    let error = test_run.start(&["--arms", "far", "--set", "arms.far.shift=1"]).unwrap_err();
    assert!(error.contains("arms.far.shift = 10.0 in the run folder, 1.0 now"), "{error}");
}

#[test]
fn records_of_another_trial_and_edited_records_are_rejected() {
    let test_run = TestRun::new();
    test_run.start(&[]).unwrap();
    let record = |arm: &str, name: &str| test_run.out().join("seed-0").join(arm).join(name);
    for name in ["trained.json", "result.json"] {
        let path = record("far", name);
        let record_text = fs::read_to_string(&path).unwrap();
        fs::copy(record("plain", name), &path).unwrap();
        let error = test_run.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("arms.far"), "{error}");
        let changed = record_text.replace("\"tokens\": ", "\"tokens\": 1");
        fs::write(&path, changed).unwrap();
        let error = test_run.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("changed since"), "{error}");
        fs::write(&path, "{").unwrap();
        let error = test_run.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("remove the file"), "{error}");
        fs::write(&path, record_text).unwrap();
    }
    take_calls();
    // After training again, the evaluation is repeated.
    fs::remove_file(record("far", "trained.json")).unwrap();
    fs::remove_dir_all(record("far", "fit")).unwrap();
    test_run.start(&[]).unwrap();
    assert_eq!(take_calls()[..2], [ALL_CALLS[0], ALL_CALLS[3]]);
}

#[test]
fn work_shared_by_all_arms_has_a_separate_folder() {
    let test_run = TestRun::new();
    let experiment = open(&test_run, &[]);
    let compute_shared_part =
        || experiment.each_seed("first", |trial| Ok(trial.seed), |_, seed| Ok(seed + 1));
    assert_eq!(compute_shared_part().unwrap()[0].evaluated, 1);
    assert_eq!(compute_shared_part().unwrap()[0].arm, "first");
    let has_shared_folder = experiment.each(
        |trial| Ok(trial.seed_dir("first").exists()),
        |_, has_shared_folder| Ok(*has_shared_folder),
    );
    assert!(has_shared_folder.unwrap().iter().all(|result| result.evaluated));
    let result = experiment.each_seed("far", |_| Ok(()), |_, ()| Ok(()));
    assert!(result.unwrap_err().to_string().contains("arms.far"));
    assert!(experiment.each_seed("../x", |_| Ok(()), |_, ()| Ok(())).is_err());
}

#[test]
fn results_without_a_json_form_are_rejected_before_they_are_written() {
    let test_run = TestRun::new();
    let experiment = open(&test_run, &[]);
    let error = experiment.each(|_| Ok(f64::NAN), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("cannot be read back"), "{error}");
    let record: &Path = &test_run.out().join("seed-0/plain/trained.json");
    assert!(!record.exists());
}
