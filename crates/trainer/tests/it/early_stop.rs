//! Evaluations in training, and the end that they may bring.
use std::path::Path;

use crate::common::{alone, config, metrics, parameters, shrink, stage, weight};
use trainer::selection::{BestEpoch, CheckpointSelection, Scores};
use trainer::{FitReport, TrainConfig, fit};

/// What is left of a run: its report, the best evaluation, all scores and the weight.
type Left = (FitReport, usize, Vec<Scores>, f64);

/// Trains on a score that is highest where the weight is 0.46; three batches an epoch.
fn train(folder: &Path, interrupt: Option<u64>, config: &TrainConfig) -> Option<Left> {
    train_to(0.46, false, folder, interrupt, config)
}

/// The same with another weight, perhaps with the one before training among the candidates.
fn train_to(
    best: f64,
    from_start: bool,
    folder: &Path,
    interrupt: Option<u64>,
    config: &TrainConfig,
) -> Option<Left> {
    let weight = weight();
    let watched = weight.shallow_clone();
    let score = || Ok(-(watched.double_value(&[]) - best).abs());
    let selection =
        CheckpointSelection { from_start, ..CheckpointSelection::highest("dev", score) };
    let parameters = parameters(&weight);
    // Borrowed: the task is its owner's again after training.
    let mut shrink = shrink(&weight);
    let mut task = BestEpoch::new(&mut shrink, &parameters, selection);
    let report = fit(&stage(folder, interrupt), config, &parameters, &mut task).unwrap();
    if !report.finished {
        return None;
    }
    let (best, scores) = task.finish().unwrap();
    Some((FitReport { seconds: 0.0, ..report }, best, scores, weight.double_value(&[])))
}

fn patient() -> TrainConfig {
    TrainConfig {
        evaluation_steps: Some(2),
        patience: Some(2),
        steps: Some(60),
        checkpoint_steps: Some(5),
        log_steps: 4,
        ..config()
    }
}

#[test]
fn training_ends_without_a_new_best_and_the_best_stays() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (report, best, scores, weight) = train(folder.path(), None, &patient()).unwrap();
    // Steps 2, 3 (an epoch), 4, 6 (both), 8, 9, 10, 12, …; two after the best one are the last.
    assert_eq!(best + 3, scores.len());
    assert!(report.finished && report.steps < 60 && best > 0, "{report:?}, {best}");
    assert!(scores.iter().all(|score| score["dev"] <= scores[best]["dev"]));
    assert_eq!(-(weight - 0.46).abs(), scores[best]["dev"]);
    let evaluated =
        (1..=report.steps).filter(|step| step.is_multiple_of(2) || step.is_multiple_of(3));
    assert_eq!(evaluated.count(), scores.len());
    // The last step has its line, its checkpoint, and is the end for a later start too.
    let last = metrics(folder.path()).lines().last().unwrap().to_owned();
    assert!(last.starts_with(&format!("{{\"step\":{},", report.steps)), "{last}");
    let saved = folder.path().join(format!("checkpoints/step-{:08}", report.steps));
    assert!(saved.exists());
    assert_eq!(train(folder.path(), None, &patient()), Some((report, best, scores, weight)));
}

#[test]
fn an_interrupted_run_ends_at_the_same_step() {
    let _alone = alone();
    let whole = tempfile::tempdir().unwrap();
    let want = train(whole.path(), None, &patient());
    for steps in [5, 7] {
        let broken = tempfile::tempdir().unwrap();
        let got = (0..20).find_map(|_| train(broken.path(), Some(steps), &patient()));
        assert_eq!(got, want, "stopped every {steps} steps");
        assert_eq!(metrics(broken.path()), metrics(whole.path()));
    }
}

#[test]
fn a_task_without_scores_refuses_them() {
    let weight = weight();
    let folder = tempfile::tempdir().unwrap();
    let mut task = shrink(&weight);
    let error = fit(&stage(folder.path(), None), &patient(), &parameters(&weight), &mut task);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("evaluation_steps = 2: must be absent, because no task"), "{error}");
}

#[test]
fn training_that_only_harms_leaves_the_model_as_it_was() {
    let _alone = alone();
    let patient = TrainConfig { checkpoint_steps: Some(1), ..patient() };
    let config = TrainConfig { evaluation_steps: None, patience: None, ..patient.clone() };
    let run = |from_start, interrupt, config: &TrainConfig| {
        let folder = tempfile::tempdir().unwrap();
        (0..60).find_map(|_| train_to(0.5, from_start, folder.path(), interrupt, config)).unwrap()
    };
    let start = weight().double_value(&[]);
    assert_eq!(start, 0.5);
    let (report, best, scores, left) = run(true, None, &config);
    assert_eq!((report.steps, best, scores.len(), left), (60, 0, 21, start));
    let (_, best, scores, left) = run(false, None, &config);
    assert!((best, scores.len()) == (0, 20) && left < start, "the first epoch is the best");
    // Stopped before and after the first epoch, the start is scored once.
    for steps in [1, 2, 4] {
        assert_eq!(run(true, Some(steps), &config), run(true, None, &config), "{steps}");
    }
    // The start counts for patience.
    let (report, best, scores, _) = run(true, None, &patient);
    assert_eq!((report.steps, best, scores.len()), (3, 0, 3));
}
