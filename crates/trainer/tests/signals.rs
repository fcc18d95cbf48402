//! Signals during and after training.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use common::{ToyTask, lock_rng, metrics_text, new_weight, parameters, stage, toy_config};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use trainer::{Error, TrainConfig, fit};

/// Trains 9 steps, with a checkpoint at the end only, and raises the given signals in each given
/// step.
fn train(folder: &Path, signals: &[(u64, &[i32])]) -> (Result<(), Error>, f64) {
    let weight = new_weight();
    // Minimises the weight's square, and sends signals to the current process.
    let mut task = ToyTask::new(6, |step| {
        for (_, signals) in signals.iter().filter(|(at, _)| *at == step.batch_index) {
            signals.iter().try_for_each(|&signal| raise(signal))?;
        }
        Ok(weight.f_square()?)
    });
    let config = TrainConfig { checkpoint_steps: None, ..toy_config() };
    let stage = stage(folder, None).stop_on_signals();
    let report = fit(&stage, &config, &parameters(&weight), &mut task);
    (report.map(|report| assert!(report.finished)), weight.double_value(&[]))
}

#[test]
fn after_a_signal_the_run_resumes_from_the_saved_step() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (report, want) = train(uninterrupted.path(), &[]);
    report.unwrap();
    // The first run stops in step 3, the second run in step 6, and the third run in step 8, which
    // is the last step.
    for (at, signal, name) in [(3, SIGTERM, "SIGTERM"), (6, SIGINT, "SIGINT"), (8, SIGINT, "")] {
        let error = train(interrupted.path(), &[(at, &[signal])]).0.unwrap_err();
        let Error::Stopped { step, total: 9, signal: stop_signal, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((step, stop_signal), (at + 1, signal));
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("run the same command to continue"), "{text}");
        let saved = interrupted.path().join(format!("checkpoints/step-{step:08}/state.json"));
        assert!(saved.exists(), "{}", saved.display());
    }
    let (report, got) = train(interrupted.path(), &[]);
    report.unwrap();
    assert_eq!(got, want);
    assert_eq!(metrics_text(interrupted.path()), metrics_text(uninterrupted.path()));
}

/// Returns the command that runs the ignored test `test` in a separate process, with `folder`.
fn child_command(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--test-threads", "1"]).env("FOLDER", folder);
    command
}

/// Returns the folder of a child process; `None` if the test was not started by another test.
fn folder_of_child() -> Option<PathBuf> {
    Some(std::env::var_os("FOLDER")?.into())
}

#[test]
#[ignore = "run by another test, in a separate process"]
fn child_with_two_signals() {
    let Some(folder) = folder_of_child() else { return };
    let _ = train(&folder, &[(3, &[SIGTERM, SIGTERM])]);
}

#[test]
#[ignore = "run by another test, in a separate process"]
fn child_with_a_signal_after_training() {
    let Some(folder) = folder_of_child() else { return };
    train(&folder, &[]).0.unwrap();
    raise(SIGINT).unwrap();
    std::process::exit(7);
}

#[test]
fn second_signals_and_signals_outside_training_end_the_process() {
    let _lock = lock_rng();
    let run_child = |test: &str| -> (ExitStatus, bool) {
        let folder = tempfile::tempdir().unwrap();
        let status = child_command(test, folder.path()).output().unwrap().status;
        (status, folder.path().join("checkpoints").exists())
    };
    let (status, saved) = run_child("child_with_two_signals");
    assert_eq!((status.signal(), saved), (Some(SIGTERM), false), "{status}");
    let (status, saved) = run_child("child_with_a_signal_after_training");
    assert_eq!((status.signal(), saved), (Some(SIGINT), true), "{status}");
}
