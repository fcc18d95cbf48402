//! Recorded steps: the same results, a trace and tables.
use std::path::Path;

use crate::common::{Toy, alone, config, metrics, parameters, stage, weight};
use serde_json::Value;
use tch::{Kind, Tensor};
use trainer::{Error, TrainConfig, fit};

fn train(folder: &Path, profiled: u64, poison: Option<u64>) -> Result<Tensor, Error> {
    let weight = weight();
    // Pulls the weight to 1; the step numbered `poison` has no finite loss.
    let pulled = weight.shallow_clone();
    let mut task = Toy::new(10, move |step| {
        let rows = Tensor::from_slice(&[step.batch.len() as f64]);
        let loss = ((&pulled - 1.0).square() * rows).sum(Kind::Double);
        Ok(if Some(step.number) == poison { loss / 0.0 } else { loss })
    });
    let config = TrainConfig { steps: Some(9), log_steps: 1, ..config() };
    fit(&stage(folder, None).with_profile(profiled), &config, &parameters(&weight), &mut task)?;
    Ok(weight)
}

#[test]
fn recorded_steps_compute_the_same_and_leave_a_trace_with_tables() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (plain, recorded) = (folder.path().join("plain"), folder.path().join("recorded"));
    assert_eq!(train(&plain, 0, None).unwrap(), train(&recorded, 2, None).unwrap());
    assert_eq!(metrics(&plain), metrics(&recorded));
    assert!(!plain.join("profile").exists());

    let tables = std::fs::read_to_string(recorded.join("profile/tables.md")).unwrap();
    assert!(tables.starts_with("# test: steps 6 to 7 on Cpu\n"), "{tables}");
    // The table has the longest alone; the trace has all, once in each of the two steps.
    assert!(tables.contains("| `losses` | 1.0 |"), "{tables}");
    let trace = std::fs::read_to_string(recorded.join("profile/trace.json")).unwrap();
    let read: Value = serde_json::from_str(&trace).unwrap();
    let regions = ["losses", "way back", "losses and norm as numbers", "update", "log"];
    for name in regions.into_iter().chain(["checkpoint", "aten::_fused_adamw_"]) {
        let events = read["traceEvents"].as_array().unwrap();
        let count = events.iter().filter(|event| event["name"] == name).count();
        assert_eq!(count, 2, "{name}");
    }
    assert!(trace.contains("\"way back\"") && trace.contains("aten::square"));
}

#[test]
fn a_failed_write_of_metrics_does_not_end_training() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (plain, recorded) = (folder.path().join("plain"), folder.path().join("recorded"));
    let weight = train(&plain, 0, None).unwrap();
    std::fs::create_dir(&recorded).unwrap();
    std::fs::write(recorded.join("profile"), "mine").unwrap();
    assert_eq!(train(&recorded, 2, None).unwrap(), weight);
    assert_eq!(metrics(&plain), metrics(&recorded));
    assert_eq!(std::fs::read_to_string(recorded.join("profile")).unwrap(), "mine");
}

#[test]
fn a_recorded_step_that_fails_leaves_nothing_and_the_next_stage_can_record() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let error = train(&folder.path().join("failed"), 3, Some(6)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 6, .. }), "{error}");
    assert!(!folder.path().join("failed/profile").exists());
    assert!(train(&folder.path().join("next"), 3, None).is_ok());
    assert!(folder.path().join("next/profile/tables.md").exists());
}
