//! Evaluations during training, and early stopping.
use std::cell::Cell;
use std::path::Path;

use crate::common::{
    lock_rng, metrics_text, new_weight, parameters, shrink_task, stage, toy_config,
};
use trainer::selection::{BestEpoch, CheckpointSelection, Scores};
use trainer::{FitReport, Task, TrainConfig, fit};

/// Result of a run: report, index of the best evaluation, all scores and the weight.
type RunResult = (FitReport, usize, Vec<Scores>, f64);

/// Trains with three batches per epoch. The score is highest at weight 0.46.
fn train(folder: &Path, interrupt_after: Option<u64>, config: &TrainConfig) -> Option<RunResult> {
    train_with_best(0.46, false, folder, interrupt_after, config, &Cell::new(0))
}

/// Trains like [`train`], with the highest score at weight `best_weight`. With `include_initial`,
/// the initial weight is also scored. `evaluations` counts the evaluations.
fn train_with_best(
    best_weight: f64,
    include_initial: bool,
    folder: &Path,
    interrupt_after: Option<u64>,
    config: &TrainConfig,
    evaluations: &Cell<usize>,
) -> Option<RunResult> {
    let weight = new_weight();
    let scored_weight = weight.shallow_clone();
    let score = || {
        evaluations.set(evaluations.get() + 1);
        Ok(-(scored_weight.double_value(&[]) - best_weight).abs())
    };
    let selection =
        CheckpointSelection { include_initial, ..CheckpointSelection::highest("dev", score) };
    let parameters = parameters(&weight);
    let mut inner_task = shrink_task(&weight);
    let mut task = BestEpoch::new(&mut inner_task, &parameters, selection);
    let report = fit(&stage(folder, interrupt_after), config, &parameters, &mut task).unwrap();
    if !report.finished {
        return None;
    }
    let (best, scores) = task.finish().unwrap();
    Some((FitReport { seconds: 0.0, ..report }, best, scores, weight.double_value(&[])))
}

fn patient_config() -> TrainConfig {
    TrainConfig {
        evaluation_steps: Some(2),
        patience: Some(2),
        steps: Some(60),
        checkpoint_steps: Some(5),
        log_steps: 4,
        ..toy_config()
    }
}

#[test]
fn training_ends_without_a_new_best_score_and_restores_the_best_weight() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let (report, best, scores, weight) = train(folder.path(), None, &patient_config()).unwrap();
    // The model is evaluated after every second step and after every epoch of three steps: 2, 3, 4,
    // 6, 8, 9, 10, 12, …. Training ends with the second evaluation after the best one.
    assert_eq!(best + 3, scores.len());
    assert!(report.finished && report.steps < 60 && best > 0, "{report:?}, {best}");
    assert!(scores.iter().all(|score| score["dev"] <= scores[best]["dev"]));
    assert_eq!(-(weight - 0.46).abs(), scores[best]["dev"]);
    let evaluated_steps =
        (1..=report.steps).filter(|step| step.is_multiple_of(2) || step.is_multiple_of(3));
    assert_eq!(evaluated_steps.count(), scores.len());
    // The last step has a line of metrics and a checkpoint, and a resumed run stops at the same
    // step.
    let last_line = metrics_text(folder.path()).lines().last().unwrap().to_owned();
    assert!(last_line.starts_with(&format!("{{\"step\":{},", report.steps)), "{last_line}");
    let checkpoint = folder.path().join(format!("checkpoints/step-{:08}", report.steps));
    assert!(checkpoint.exists());
    assert_eq!(train(folder.path(), None, &patient_config()), Some((report, best, scores, weight)));
}

#[test]
fn an_interrupted_run_ends_at_the_same_step() {
    let _lock = lock_rng();
    let uninterrupted = tempfile::tempdir().unwrap();
    let want = train(uninterrupted.path(), None, &patient_config());
    for steps in [5, 7] {
        let interrupted = tempfile::tempdir().unwrap();
        let got = (0..20).find_map(|_| train(interrupted.path(), Some(steps), &patient_config()));
        assert_eq!(got, want, "stopped every {steps} steps");
        assert_eq!(metrics_text(interrupted.path()), metrics_text(uninterrupted.path()));
    }
}

#[test]
fn evaluation_options_are_errors_for_a_task_without_scores() {
    let weight = new_weight();
    let folder = tempfile::tempdir().unwrap();
    let mut task = shrink_task(&weight);
    let error =
        fit(&stage(folder.path(), None), &patient_config(), &parameters(&weight), &mut task);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("evaluation_steps = 2: must be absent, because no task"), "{error}");
}

#[test]
fn scores_with_other_names_are_an_error() {
    let weight = new_weight();
    let selection = CheckpointSelection::highest_mean(["en".to_owned()], || {
        Ok(Scores::from([("de".to_owned(), 1.0)]))
    });
    let mut inner_task = shrink_task(&weight);
    let error =
        BestEpoch::new(&mut inner_task, &[], selection).epoch_ended(0).unwrap_err().to_string();
    assert!(error.contains("names of scores: expected [\"en\"], got [\"de\"]"), "{error}");
}

#[test]
fn the_initial_model_can_be_selected() {
    let _lock = lock_rng();
    let patient_config = TrainConfig { checkpoint_steps: Some(1), ..patient_config() };
    let config = TrainConfig { evaluation_steps: None, patience: None, ..patient_config.clone() };
    let run_to_end = |include_initial, interrupt_after, config: &TrainConfig| {
        let (folder, evaluations) = (tempfile::tempdir().unwrap(), Cell::new(0));
        let train = |_| {
            let folder = folder.path();
            train_with_best(0.5, include_initial, folder, interrupt_after, config, &evaluations)
        };
        ((0..60).find_map(train).unwrap(), evaluations.get())
    };
    let initial_weight = new_weight().double_value(&[]);
    assert_eq!(initial_weight, 0.5);
    let ((report, best, scores, final_weight), _) = run_to_end(true, None, &config);
    assert_eq!((report.steps, best, scores.len(), final_weight), (60, 0, 21, initial_weight));
    let ((_, best, scores, final_weight), evaluations) = run_to_end(false, None, &config);
    assert!(
        (best, scores.len(), evaluations) == (0, 20, 20) && final_weight < initial_weight,
        "the first epoch is the best"
    );
    // A resumed run does not repeat evaluations, whether it was interrupted before or after the end
    // of the first epoch.
    for steps in [1, 2, 4] {
        for include_initial in [true, false] {
            let uninterrupted = run_to_end(include_initial, None, &config);
            assert_eq!(run_to_end(include_initial, Some(steps), &config), uninterrupted, "{steps}");
        }
    }
    // An incomplete last epoch is scored.
    let seven_steps = TrainConfig { steps: Some(7), ..config };
    let ((_, _, scores, _), evaluations) = run_to_end(false, None, &seven_steps);
    assert_eq!((scores.len(), evaluations), (3, 3));
    // Evaluations since the initial model's score count towards `patience`.
    let ((report, best, scores, _), _) = run_to_end(true, None, &patient_config);
    assert_eq!((report.steps, best, scores.len()), (3, 0, 3));
}
