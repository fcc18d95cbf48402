//! Checkpoints written in the background: a failed write, and a killed process.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{ToyTask, lock_rng, metrics_text, parameters, stage, toy_config};
use tch::{Device, Kind, Tensor};
use trainer::{TrainConfig, fit};

/// Minimises squares of weights. In step 3, replaces the folder `obstacle` with a file, so that
/// writes fail.
fn train(folder: &Path, steps: u64, obstacle: Option<PathBuf>) -> Result<Vec<f32>, trainer::Error> {
    let weight = Tensor::ones([8_000], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let trained = weight.shallow_clone();
    let mut task = ToyTask::new(6, move |step| {
        if let Some(path) = obstacle.as_ref().filter(|_| step.batch_index == 3) {
            // An unfinished write of an earlier model may create the folder again before the file
            // is written.
            for number in 0.. {
                let _ = fs::rename(path, path.with_extension(format!("away-{number}")));
                if fs::write(path, "").is_ok() {
                    break;
                }
            }
        }
        let noise = trained.f_rand_like()?;
        Ok((&trained + noise).f_square()?.f_sum(Kind::Float)?)
    });
    let config = TrainConfig { steps: Some(steps), keep_models: true, ..toy_config() };
    fit(&stage(folder, None), &config, &parameters(&weight), &mut task)?;
    Ok(Vec::<f32>::try_from(&weight).unwrap())
}

#[test]
fn a_failed_write_ends_the_run_and_preserves_earlier_checkpoints() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let want = train(uninterrupted.path(), 9, None).unwrap();
    let root = interrupted.path().join("checkpoints");
    let obstacle = interrupted.path().join("models");
    let error = train(interrupted.path(), 9, Some(obstacle.clone())).unwrap_err().to_string();
    assert!(error.starts_with(&obstacle.display().to_string()), "{error}");
    let checkpoints: Vec<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !checkpoints.is_empty() && checkpoints.iter().all(|name| name.starts_with("step-0000000"))
    );
    assert!(!checkpoints.contains(&"step-00000009".to_owned()), "{checkpoints:?}");
    fs::remove_file(&obstacle).unwrap();
    assert_eq!(train(interrupted.path(), 9, None).unwrap(), want);
    assert_eq!(metrics_text(interrupted.path()), metrics_text(uninterrupted.path()));
}

const TOTAL_STEPS: u64 = 40;

#[test]
#[ignore = "run by another test, in a separate process"]
fn child_to_be_killed() {
    let Some(folder) = std::env::var_os("FOLDER") else { return };
    train(Path::new(&folder), TOTAL_STEPS, None).unwrap();
}

#[test]
fn a_kill_during_a_write_preserves_the_previous_checkpoint() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = interrupted.path().join("checkpoints");
    let entry_names = || -> Vec<String> {
        let entries = fs::read_dir(&root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "background::child_to_be_killed", "--ignored", "--test-threads", "1"])
        .env("FOLDER", interrupted.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Waits until one checkpoint is complete and another is being written.
    while {
        let names = entry_names();
        let has_file = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        !(has_file("step-") && has_file(".partial-"))
    } {
        assert!(child.try_wait().unwrap().is_none(), "the child ended: {:?}", entry_names());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(entry_names().iter().all(|name| name != &format!("step-{TOTAL_STEPS:08}")));
    let got = train(interrupted.path(), TOTAL_STEPS, None).unwrap();
    assert!(entry_names().iter().all(|name| name.starts_with("step-")), "{:?}", entry_names());
    assert_eq!(got, train(uninterrupted.path(), TOTAL_STEPS, None).unwrap());
    assert_eq!(metrics_text(interrupted.path()), metrics_text(uninterrupted.path()));
}
