//! Several trials at the same time (`--jobs`).
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::command_line::{error_of, program};
use crate::toy::TestRun;

/// The files of results in a run folder.
const RESULTS: [&str; 6] = [
    "seed-0/plain/fit/metrics.jsonl",
    "seed-0/plain/model/model.json",
    "seed-1/far/a/fit/metrics.jsonl",
    "seed-1/far/b/model/model.json",
    "summary.json",
    "table.md",
];

/// The toy recipe with two seeds and with two variants of an arm.
fn six_trials(test_run: &TestRun) -> Command {
    let mut command = program(test_run);
    command.args(["--seeds", "2", "--set", "arms.far.languages=[\"a\", \"b\"]"]);
    command
}

/// The command that resumes a run without its recipe file.
fn resume(test_run: &TestRun) -> Command {
    let mut command = Command::new(program(test_run).get_program());
    command.arg("--resume").arg(test_run.out());
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn results(test_run: &TestRun) -> BTreeMap<&'static str, String> {
    let read = |name| (name, fs::read_to_string(test_run.out().join(name)).unwrap());
    RESULTS.map(read).into()
}

#[test]
fn results_are_those_of_one_process() {
    let one = TestRun::new();
    let several = TestRun::new();
    let expected = run(&mut six_trials(&one));
    let output = run(six_trials(&several).args(["--jobs", "3"]));
    assert_eq!(results(&several), results(&one));
    // Lines of the trials and of the main process appear once.
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let lines = |printed: &str, test_run: &TestRun| {
        let printed = printed.replace(&*test_run.out().to_string_lossy(), "OUT");
        let (mut lines, finished): (Vec<String>, Vec<String>) =
            printed.lines().map(str::to_owned).partition(|line| !line.contains(": finished ("));
        lines.sort();
        (lines, finished.len())
    };
    let printed = text(&output);
    let expected = text(&expected);
    assert_eq!(expected.matches("training seed").count(), 6, "{expected}");
    assert_eq!(lines(&printed, &several), (lines(&expected, &one).0, 6));
    let steps = String::from_utf8(output.stderr).unwrap();
    assert_eq!(steps.matches("step 6/6").count(), 6, "{steps}");
    let machine: Value =
        serde_json::from_slice(&fs::read(several.out().join("machine.json")).unwrap()).unwrap();
    assert_eq!(machine["commands"].as_array().unwrap().len(), 1, "{machine}");
    // Finished trials are not computed again, and the recipe is the one of the run.
    fs::remove_dir_all(several.out().join("seed-1")).unwrap();
    let mut resumed = resume(&several);
    let again = text(&run(resumed.args(["--jobs", "3"])));
    assert_eq!(again.matches(": finished (").count(), 3, "{again}");
    assert_eq!(results(&several), results(&one));
}

#[test]
fn a_run_with_automatic_precision_is_one_with_the_selected_precision() {
    let automatic = TestRun::new();
    run(six_trials(&automatic).args(["--set", "run.precision=auto", "--jobs", "2"]));
    let recipe = fs::read_to_string(automatic.out().join("recipe.toml")).unwrap();
    let selected = if torch_ext::bf16_is_fast() { "bf16" } else { "f32" };
    let precision = format!("precision = \"{selected}\"\n");
    assert!(recipe.contains(&precision), "{recipe}");
    // Removed results are computed again by a resumed run and by one with the explicit value.
    fs::remove_dir_all(automatic.out().join("seed-1")).unwrap();
    let resumed = run(resume(&automatic).args(["--jobs", "2"]));
    fs::remove_dir_all(automatic.out().join("seed-0")).unwrap();
    let set = format!("run.precision={selected}");
    let explicit = run(six_trials(&automatic).args(["--set", &set]));
    for output in [resumed, explicit] {
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.matches("training seed ").count(), 3, "{printed}");
    }
    let other = if selected == "f32" { "bf16" } else { "f32" };
    let set = format!("run.precision={other}");
    let error = error_of(&six_trials(&automatic).args(["--set", &set]).output().unwrap());
    let difference = format!("run.precision = \"{selected}\" in the run folder, \"{other}\" now");
    assert!(error.contains(&difference), "{error}");
}

#[test]
fn slow_precision_is_reported_once() {
    let test_run = TestRun::new();
    let output = run(six_trials(&test_run).args(["--set", "run.precision=bf16", "--jobs", "3"]));
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = usize::from(!torch_ext::bf16_is_fast());
    assert_eq!(printed.matches("is slow on this processor").count(), expected, "{printed}");
}

#[test]
fn an_error_of_a_trial_is_the_error_of_the_run() {
    let test_run = TestRun::new();
    test_run.write("train.json", "[]");
    let error = error_of(&program(&test_run).args(["--jobs", "2"]).output().unwrap());
    assert!(error.contains("train.json: no number"), "{error}");
}

#[test]
fn a_stopped_trial_stops_the_run_which_can_be_resumed() {
    let uninterrupted = TestRun::new();
    let interrupted = TestRun::new();
    run(&mut six_trials(&uninterrupted));
    let mut command = six_trials(&interrupted);
    let output = command.args(["--jobs", "2"]).env("TOY_SIGTERM", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("stopped by SIGTERM after step 3 of 6"), "{error}");
    assert!(error.ends_with("stopped; run the same command to continue\n"), "{error}");
    run(six_trials(&interrupted).args(["--jobs", "2"]));
    assert_eq!(results(&interrupted), results(&uninterrupted));
}

#[test]
fn a_signal_stops_all_trials_after_a_step() {
    let test_run = TestRun::new();
    let mut command = program(&test_run);
    command.args(["--jobs", "2", "--set", "training.steps=100000000"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let folders = ["plain", "far"].map(|arm| test_run.out().join("seed-0").join(arm).join("fit"));
    let has_checkpoint = |folder: &Path| fs::read_dir(folder.join("checkpoints")).is_ok();
    while !folders.iter().all(|folder| has_checkpoint(folder)) {
        if child.try_wait().unwrap().is_some() {
            panic!("{:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    let lines = error.matches("stopped by SIGTERM after step").count();
    assert_eq!(lines, 2, "{error}");
    assert!(
        error.ends_with("stopped after 0 of 2 trials; run the same command to continue\n"),
        "{error}"
    );
}

#[test]
fn a_trial_needs_its_main_process() {
    let test_run = TestRun::new();
    run(&mut program(&test_run));
    let error = error_of(&program(&test_run).args(["--trial", "seed-0/far"]).output().unwrap());
    assert!(error.contains("--trial: only a run with --jobs starts such a process"), "{error}");
}

#[test]
fn trials_that_need_each_other_are_rejected() {
    let test_run = TestRun::new();
    let arms = |names: &str| {
        let mut command = program(&test_run);
        command.args(["--jobs", "2", "--arms", names]).output().unwrap()
    };
    let error = error_of(&arms("far,further"));
    assert!(error.contains("--jobs: trials of this recipe read files of other trials"), "{error}");
    assert!(!test_run.out().exists());
    // Only the selected arms count.
    assert!(arms("plain,far").status.success());
}

#[test]
fn trials_of_several_processes_are_rejected() {
    let test_run = TestRun::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ranks = [0, 1].map(|rank: usize| {
        let mut command = program(&test_run);
        command.args(["--jobs", "2"]).env("WORLD_SIZE", "2").env("RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for rank in ranks {
        let error = error_of(&rank.wait_with_output().unwrap());
        assert!(error.contains("--jobs: each trial already has several processes"), "{error}");
    }
    assert!(!test_run.out().exists());
}
