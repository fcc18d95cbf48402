//! Checkpoints that are written while training goes on: a write that fails, and a process that is
//! killed.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Toy, alone, config, metrics, parameters, stage};
use tch::{Device, Kind, Tensor};
use trainer::{TrainConfig, fit};

/// Pulls weights to 0; puts a file in the place of a folder that checkpoints need.
fn train(folder: &Path, steps: u64, obstacle: Option<PathBuf>) -> Result<Vec<f32>, trainer::Error> {
    let weight = Tensor::ones([8_000], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let shrunk = weight.shallow_clone();
    let mut task = Toy::new(6, move |step| {
        if let Some(path) = obstacle.as_ref().filter(|_| step.number == 3) {
            // An earlier model that is written meanwhile makes the folder again.
            for number in 0.. {
                let _ = fs::rename(path, path.with_extension(format!("away-{number}")));
                if fs::write(path, "").is_ok() {
                    break;
                }
            }
        }
        let noise = shrunk.f_rand_like()?;
        Ok((&shrunk + noise).f_square()?.f_sum(Kind::Float)?)
    });
    let config = TrainConfig { steps: Some(steps), keep_models: true, ..config() };
    fit(&stage(folder, None), &config, &parameters(&weight), &mut task)?;
    Ok(Vec::<f32>::try_from(&weight).unwrap())
}

#[test]
fn a_write_that_fails_ends_the_run_and_keeps_the_checkpoints_before() {
    let _alone = alone();
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let want = train(whole.path(), 9, None).unwrap();
    let root = broken.path().join("checkpoints");
    let obstacle = broken.path().join("models");
    let error = train(broken.path(), 9, Some(obstacle.clone())).unwrap_err().to_string();
    assert!(error.starts_with(&obstacle.display().to_string()), "{error}");
    let left: Vec<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.is_empty() && left.iter().all(|name| name.starts_with("step-0000000")));
    assert!(!left.contains(&"step-00000009".to_owned()), "{left:?}");
    fs::remove_file(&obstacle).unwrap();
    assert_eq!(train(broken.path(), 9, None).unwrap(), want);
    assert_eq!(metrics(broken.path()), metrics(whole.path()));
}

const STEPS: u64 = 40;

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_to_be_killed() {
    let Some(folder) = std::env::var_os("FOLDER") else { return };
    train(Path::new(&folder), STEPS, None).unwrap();
}

#[test]
fn a_kill_in_the_middle_of_a_write_leaves_the_checkpoint_before() {
    let _alone = alone();
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = broken.path().join("checkpoints");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "background::child_to_be_killed", "--ignored", "--test-threads", "1"])
        .env("FOLDER", broken.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Until one is complete and another under way.
    while {
        let names = names();
        let begins = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        !(begins("step-") && begins(".partial-"))
    } {
        assert!(child.try_wait().unwrap().is_none(), "the child ended: {:?}", names());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(names().iter().all(|name| name != &format!("step-{STEPS:08}")));
    let got = train(broken.path(), STEPS, None).unwrap();
    assert!(names().iter().all(|name| name.starts_with("step-")), "{:?}", names());
    assert_eq!(got, train(whole.path(), STEPS, None).unwrap());
    assert_eq!(metrics(broken.path()), metrics(whole.path()));
}
