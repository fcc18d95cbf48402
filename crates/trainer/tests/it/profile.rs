//! Profiling does not change results, and writes a trace.
use std::path::Path;

use crate::common::{ToyTask, lock_rng, metrics_text, new_weight, parameters, stage, toy_config};
use serde_json::Value;
use tch::{Kind, Tensor};
use trainer::{Error, TrainConfig, fit};

fn train(folder: &Path, profile_steps: u64, infinite_step: Option<u64>) -> Result<Tensor, Error> {
    let weight = new_weight();
    // Trains the weight towards 1; the loss of step `infinite_step` is infinite.
    let trained = weight.shallow_clone();
    let mut task = ToyTask::new(10, move |step| {
        let rows = Tensor::from_slice(&[step.batch.len() as f64]);
        let loss = ((&trained - 1.0).square() * rows).sum(Kind::Double);
        Ok(if Some(step.batch_index) == infinite_step { loss / 0.0 } else { loss })
    });
    let config = TrainConfig { steps: Some(9), log_steps: 1, ..toy_config() };
    let stage = stage(folder, None).with_profile(profile_steps);
    fit(&stage, &config, &parameters(&weight), &mut task)?;
    Ok(weight)
}

#[test]
fn profiling_does_not_change_results_and_writes_a_trace() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let (plain, profiled) = (folder.path().join("plain"), folder.path().join("recorded"));
    assert_eq!(train(&plain, 0, None).unwrap(), train(&profiled, 2, None).unwrap());
    assert_eq!(metrics_text(&plain), metrics_text(&profiled));
    assert!(!plain.join("profile").exists());

    // Every region occurs twice, once per profiled step.
    let trace = std::fs::read_to_string(profiled.join("profile/trace.json")).unwrap();
    let parsed_trace: Value = serde_json::from_str(&trace).unwrap();
    let regions = ["losses", "backward", "read losses and norm", "update", "log"];
    for name in regions.into_iter().chain(["checkpoint", "aten::_fused_adamw_"]) {
        let events = parsed_trace["traceEvents"].as_array().unwrap();
        let count = events.iter().filter(|event| event["name"] == name).count();
        assert_eq!(count, 2, "{name}");
    }
    assert!(trace.contains("\"backward\"") && trace.contains("aten::square"));
}

#[test]
fn a_failed_write_of_a_profile_does_not_end_training() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let (plain, profiled) = (folder.path().join("plain"), folder.path().join("recorded"));
    let weight = train(&plain, 0, None).unwrap();
    std::fs::create_dir(&profiled).unwrap();
    std::fs::write(profiled.join("profile"), "mine").unwrap();
    assert_eq!(train(&profiled, 2, None).unwrap(), weight);
    assert_eq!(metrics_text(&plain), metrics_text(&profiled));
    assert_eq!(std::fs::read_to_string(profiled.join("profile")).unwrap(), "mine");
}

#[test]
fn after_a_failed_profiled_step_another_stage_can_be_profiled() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let error = train(&folder.path().join("failed"), 3, Some(6)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 6, .. }), "{error}");
    assert!(!folder.path().join("failed/profile").exists());
    assert!(folder.path().join("failed/checkpoints/step-00000006/state.json").exists());
    assert!(train(&folder.path().join("next"), 3, None).is_ok());
    assert!(folder.path().join("next/profile/trace.json").exists());
}
