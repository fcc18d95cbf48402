//! Tests of resumed runs: which parts are recomputed, and which changes are rejected.
use std::fs;
use std::path::Path;

use crate::toy::{Toy, Workshop, calls};
use experiment::{Experiment, read_recipe};
use tch::Kind;
use torch_ext::read_tensors;

const ALL: [&str; 5] = [
    "check",
    "train seed 0, plain",
    "evaluate seed 0, plain",
    "train seed 0, far",
    "evaluate seed 0, far",
];

#[test]
fn results_come_in_the_order_of_seeds_arms_and_variants() {
    let workshop = Workshop::new();
    let mut recipe: Toy = read_recipe(workshop.path("toy.toml"), &[]).unwrap();
    recipe.run.seeds = vec![7, 0];
    recipe.arms.get_mut("far").unwrap().languages = vec!["en-zh".into(), "en-de".into()];
    let open = || Experiment::open(recipe.clone(), workshop.out()).unwrap();
    let results = open().each(crate::toy::train, crate::toy::evaluate).unwrap();
    let order: Vec<(u64, &str, Option<&str>)> =
        results.iter().map(|one| (one.seed, one.arm.as_str(), one.variant.as_deref())).collect();
    let of_seed =
        |seed| [(seed, "plain", None), (seed, "far", Some("en-zh")), (seed, "far", Some("en-de"))];
    assert_eq!(order, [of_seed(7), of_seed(0)].concat());
    assert_eq!(results.of_trial(0, "far").count(), 2);
    assert!(results.iter().all(|one| one.tokens == 12 && one.seconds > 0.0));
    for folder in ["seed-7/plain", "seed-7/far/en-zh", "seed-0/far/en-de"] {
        assert!(workshop.out().join(folder).join("result.json").exists(), "{folder}");
    }
    // Results that are read back are bit-identical.
    assert_eq!(open().each(crate::toy::train, crate::toy::evaluate).unwrap(), results);
}

#[test]
fn a_finished_run_is_read_back() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    assert_eq!(calls(), ALL);
    let summary = workshop.summary();
    let table = fs::read_to_string(workshop.out().join("table.md")).unwrap();
    assert!(table.starts_with("| distance | mean |\n|---|---:|\n| plain |"), "{table}");
    workshop.start(&[]).unwrap();
    assert!(calls().is_empty());
    assert_eq!(workshop.summary(), summary);
    // How it is written, and on what it is computed, decides nothing.
    for set in ["training.checkpoint_steps=3", "training.log_steps=1", "run.threads=2"] {
        workshop.start(&["--set", set]).unwrap();
        assert!(calls().is_empty(), "{set}");
    }
}

#[test]
fn the_command_of_a_prepared_folder_is_recorded() {
    let workshop = Workshop::new();
    let noted = || {
        let text = fs::read_to_string(workshop.out().join("machine.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    workshop.start(&[]).unwrap();
    let first = noted();
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["commands"][0][0], "toy");
    let peak = |noted: &serde_json::Value| noted["peak_memory_bytes"].as_u64();
    assert!(cfg!(not(target_os = "linux")) || peak(&first) > Some(1 << 20), "{first}");
    // One that goes on writes the same command once, and a peak is never forgotten.
    workshop.start(&[]).unwrap();
    assert_eq!(noted()["commands"], first["commands"]);
    assert!(peak(&noted()) >= peak(&first));
    // It decides nothing: a run goes on without it, and where it cannot be read.
    for text in ["", "{"] {
        fs::write(workshop.out().join("machine.json"), text).unwrap();
        workshop.start(&[]).unwrap();
        assert_eq!(noted()["commands"], first["commands"]);
    }
}

#[test]
fn seeds_and_arms_can_be_added() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    let first = workshop.summary();
    calls();
    workshop.start(&["--seeds", "2"]).unwrap();
    let of_seed_1: Vec<String> = ALL.iter().map(|call| call.replace("seed 0", "seed 1")).collect();
    assert_eq!(calls(), of_seed_1);
    let both = workshop.summary();
    assert_eq!(both["plain"][0], first["plain"][0]);
    assert_eq!(both["plain"].len(), 2);
    workshop.start(&["--seeds", "1", "--arms", "*"]).unwrap();
    let added = ["check", "train seed 0, further", "evaluate seed 0, further"];
    assert_eq!(calls(), added);
    assert_eq!(workshop.summary().len(), 3);
    // Without a recipe argument, a resumed run uses the arms and seeds of the last start.
    let out = workshop.out();
    crate::toy::start(&["toy".into(), "--resume".into(), out]).unwrap();
    assert!(calls().is_empty());
    assert_eq!(workshop.summary().len(), 3);
}

#[test]
fn a_run_goes_on_after_it_or_its_inputs_were_moved() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    calls();
    let moved = workshop.path("elsewhere");
    fs::rename(workshop.out(), &moved).unwrap();
    workshop.start_in(&moved, &[]).unwrap();
    workshop.start_in(&workshop.path("./elsewhere/../elsewhere"), &[]).unwrap();
    fs::rename(workshop.path("train.json"), workshop.path("numbers.json")).unwrap();
    let set = format!("data.train={}", workshop.path("numbers.json").display());
    workshop.start_in(&moved, &["--set", &set]).unwrap();
    assert!(calls().is_empty());
}

#[test]
fn a_run_killed_before_its_evaluation_ends_does_not_train_again() {
    let workshop = Workshop::new();
    let trial = workshop.out().join("seed-0/plain");
    workshop.write("evaluation.json", "[]");
    let error = workshop.start(&[]).unwrap_err();
    assert!(error.starts_with("seed 0, plain: ") && error.contains("no number"), "{error}");
    assert!(trial.join("trained.json").exists() && !trial.join("result.json").exists());
    // As a kill between record and removal leaves them.
    fs::create_dir_all(trial.join("fit/checkpoints/step-00000006")).unwrap();
    fs::write(trial.join("model/.writing-aB3xyz"), "").unwrap();
    calls();
    workshop.write("evaluation.json", "[2.0, 3.0]");
    workshop.start(&[]).unwrap();
    assert_eq!(calls(), [&ALL[..1], &ALL[2..]].concat());
    assert!(!trial.join("fit/checkpoints").exists());
    assert!(!trial.join("model/.writing-aB3xyz").exists());
    assert!(trial.join("fit/metrics.jsonl").exists());
}

#[test]
fn a_removed_or_truncated_model_is_reported_and_can_be_retrained() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    let trial = workshop.out().join("seed-0/plain");
    let (model, whole) = (trial.join("model/model.json"), workshop.summary());
    let written = fs::read(&model).unwrap();
    calls();
    fs::write(&model, &written[..1]).unwrap();
    let error = workshop.start(&[]).unwrap_err();
    let want = format!("has 1 bytes, but {} were written; restore it", written.len());
    assert!(error.contains("plain/model/model.json: ") && error.contains(&want), "{error}");
    fs::remove_dir_all(trial.join("model")).unwrap();
    let error = workshop.start(&[]).unwrap_err();
    assert!(error.contains("was removed since it was written; restore it, or remove"), "{error}");
    assert!(error.contains("plain/trained.json to train again"), "{error}");
    assert!(calls().is_empty());
    fs::remove_file(trial.join("trained.json")).unwrap();
    workshop.start(&[]).unwrap();
    assert_eq!(calls(), ALL[..3]);
    assert_eq!((fs::read(&model).unwrap(), workshop.summary()), (written, whole));
}

#[test]
fn removed_or_truncated_evaluations_are_repeated() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    let answers = workshop.out().join("seed-0/far/answers/numbers.json");
    let written = fs::read(&answers).unwrap();
    calls();
    for damage in [
        (|path| fs::write(path, "[")) as fn(&Path) -> std::io::Result<()>,
        |path| fs::remove_file(path),
        |path| fs::remove_dir_all(path.parent().unwrap()),
    ] {
        damage(&answers).unwrap();
        workshop.start(&[]).unwrap();
        assert_eq!(calls(), ["check", "evaluate seed 0, far"]);
        assert_eq!(fs::read(&answers).unwrap(), written);
        workshop.start(&[]).unwrap();
        assert!(calls().is_empty());
    }
}

#[test]
fn kept_parameters_become_models_of_the_trained_one() {
    let workshop = Workshop::new();
    let arm = workshop.out().join("seed-0/plain");
    let keep = ["--arms", "plain", "--set", "training.keep_models=true"];
    // The toy leaves no model folder, so nothing says what its parameters are of.
    let error = workshop.start(&keep).unwrap_err();
    assert!(error.contains("model/config.json"), "{error}");
    let kept = |step: u32| arm.join(format!("fit/models/step-{step:08}.safetensors"));
    assert!([2, 4, 6].iter().all(|&step| kept(step).exists()));
    let base = Path::new("../../data/base");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(base.join(file), arm.join("model").join(file)).unwrap();
    }
    let error = workshop.start(&keep).unwrap_err();
    assert!(error.contains("step-00000002.safetensors: lm_head.bias: expected [4000]"), "{error}");
    // Parameters of that model become one, once for all.
    for step in [2, 4, 6] {
        fs::copy(base.join("model.safetensors"), kept(step)).unwrap();
    }
    workshop.start(&keep).unwrap();
    let written = kept(4).with_extension("").join("model.safetensors");
    let (written, base) =
        (read_tensors(written).unwrap(), read_tensors(base.join("model.safetensors")).unwrap());
    assert!(written.keys().eq(base.keys()));
    assert!(written.iter().all(|(name, tensor)| tensor.equal(&base[name].to_kind(Kind::Float))));
    assert!([2, 4, 6].iter().all(|&step| !kept(step).exists()));
    workshop.start(&keep).unwrap();
}

#[test]
fn a_change_of_the_evaluation_does_not_train_again() {
    let workshop = Workshop::new();
    workshop.start(&["--arms", "plain"]).unwrap();
    let before = workshop.summary()["plain"][0];
    let evaluated = [ALL[0], ALL[2]];
    calls();
    workshop.start(&["--arms", "plain", "--set", "evaluation.scale=2.0"]).unwrap();
    assert_eq!(calls(), evaluated);
    assert_eq!(workshop.summary()["plain"][0], 2.0 * before);
    workshop.write("evaluation.json", "[0.0]");
    workshop.start(&["--arms", "plain"]).unwrap();
    assert_eq!(calls(), evaluated);
    workshop.start(&["--arms", "plain", "--set", "arms.plain.title=Plain"]).unwrap();
    assert_eq!(calls(), evaluated);
}

#[test]
fn a_change_of_the_training_is_refused_by_name() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    let recipe = fs::read_to_string(workshop.out().join("recipe.toml")).unwrap();
    calls();
    let refused = |set: &str, expected: &str| {
        let error = workshop.start(&["--set", set]).unwrap_err();
        assert!(error.contains(expected), "{set}: {error}");
        assert!(error.contains("--out"), "{error}");
    };
    refused("training.learning_rate=0.25", "training.learning_rate = 0.5 there, 0.25 now");
    refused("training.steps=7", "training.steps = 6 there, 7 now");
    refused("arms.far.shift=1", "seed-0/far/identity.json comes from another recipe");
    refused("arms.far.shift=1", "arms.far.shift = 10.0 there, 1.0 now");
    workshop.write("train.json", "[1.0, 2.0, 3.0, 5.0]");
    let error = workshop.start(&[]).unwrap_err();
    assert!(error.contains("the input file data.train has changed"), "{error}");
    assert_eq!(fs::read_to_string(workshop.out().join("recipe.toml")).unwrap(), recipe);
    assert!(calls().is_empty());
    // Another arm's keys decide nothing, unless this one names it.
    workshop.write("train.json", "[1.0, 2.0, 3.0, 4.0]");
    workshop.start(&["--arms", "plain", "--set", "arms.far.shift=1"]).unwrap();
    workshop.start(&["--arms", "further"]).unwrap();
    calls();
    let set = ["--arms", "further", "--set", "arms.far.shift=1"];
    let error = workshop.start(&set).unwrap_err();
    assert!(error.contains("arms.far.shift = 10.0 there"), "{error}");
}

#[test]
fn the_recipe_may_change_before_the_first_trial() {
    let workshop = Workshop::new();
    let open = |set: &str| {
        let recipe: Toy = read_recipe(workshop.path("toy.toml"), &[set.into()]).unwrap();
        Experiment::open(recipe, workshop.out())
    };
    drop(open("training.steps=3").unwrap());
    drop(open("training.steps=4").unwrap());
}

#[test]
fn an_interrupted_training_of_another_recipe_is_refused_by_name() {
    let workshop = Workshop::new();
    workshop.start(&["--arms", "far"]).unwrap();
    let trial = workshop.out().join("seed-0/far");
    fs::remove_file(trial.join("trained.json")).unwrap();
    fs::remove_file(trial.join("result.json")).unwrap();
    let error = workshop.start(&["--arms", "far", "--set", "arms.far.shift=1"]).unwrap_err();
    assert!(error.contains("arms.far.shift = 10.0 there, 1.0 now"), "{error}");
}

#[test]
fn a_record_of_another_cell_or_changed_by_hand_is_refused() {
    let workshop = Workshop::new();
    workshop.start(&[]).unwrap();
    let record = |arm: &str, name: &str| workshop.out().join("seed-0").join(arm).join(name);
    for name in ["trained.json", "result.json"] {
        let path = record("far", name);
        let kept = fs::read_to_string(&path).unwrap();
        fs::copy(record("plain", name), &path).unwrap();
        let error = workshop.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("arms.far"), "{error}");
        let changed = kept.replace("\"tokens\": ", "\"tokens\": 1");
        fs::write(&path, changed).unwrap();
        let error = workshop.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("changed since"), "{error}");
        fs::write(&path, "{").unwrap();
        let error = workshop.start(&[]).unwrap_err();
        assert!(error.contains(name) && error.contains("remove the file"), "{error}");
        fs::write(&path, kept).unwrap();
    }
    calls();
    // Trained anew, it is evaluated anew.
    fs::remove_file(record("far", "trained.json")).unwrap();
    fs::remove_dir_all(record("far", "fit")).unwrap();
    workshop.start(&[]).unwrap();
    assert_eq!(calls()[..2], [ALL[0], ALL[3]]);
}

#[test]
fn shared_parts_of_arms_have_separate_folders() {
    let workshop = Workshop::new();
    let recipe: Toy = read_recipe(workshop.path("toy.toml"), &[]).unwrap();
    let experiment = Experiment::open(recipe, workshop.out()).unwrap();
    let shared = || experiment.each_seed("first", |trial| Ok(trial.seed), |_, seed| Ok(seed + 1));
    assert_eq!(shared().unwrap()[0].evaluated, 1);
    assert_eq!(shared().unwrap()[0].arm, "first");
    let seen = experiment.each(|trial| Ok(trial.seed_dir("first").exists()), |_, seen| Ok(*seen));
    assert!(seen.unwrap().iter().all(|result| result.evaluated));
    let clash = experiment.each_seed("far", |_| Ok(()), |_, ()| Ok(()));
    assert!(clash.unwrap_err().to_string().contains("arms.far"));
    assert!(experiment.each_seed("../x", |_| Ok(()), |_, ()| Ok(())).is_err());
}

#[test]
fn a_result_that_json_cannot_hold_is_refused_before_it_is_written() {
    let workshop = Workshop::new();
    let recipe: Toy = read_recipe(workshop.path("toy.toml"), &[]).unwrap();
    let experiment = Experiment::open(recipe, workshop.out()).unwrap();
    let error = experiment.each(|_| Ok(f64::NAN), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("cannot be read back"), "{error}");
    let record: &Path = &workshop.out().join("seed-0/plain/trained.json");
    assert!(!record.exists());
}
