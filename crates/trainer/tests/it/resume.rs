//! A resumed run equals an uninterrupted run bit for bit.
use std::path::Path;

use tch::{Device, Tensor};
use trainer::{FitReport, StepContext, TrainConfig, fit};

use crate::common::{lock_rng, metrics_text, stage};
use crate::ranks::{MaskedLmTask, tiny_model};

fn twenty_step_config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        warmup_ratio: 0.2,
        batch_size: 4,
        steps: Some(20),
        bucket_batches: Some(3),
        checkpoint_steps: Some(5),
        log_steps: 3,
        ..TrainConfig::default()
    }
}

fn train(folder: &Path, interrupt_after: Option<u64>) -> (FitReport, Vec<(String, Tensor)>) {
    let model = tiny_model(3);
    let parameters = model.named_parameters();
    let mut task = MaskedLmTask::new(&model);
    let report =
        fit(&stage(folder, interrupt_after), &twenty_step_config(), &parameters, &mut task)
            .unwrap();
    (report, parameters.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect())
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (report, want) = train(uninterrupted.path(), None);
    assert!(report.finished && report.steps == 20);
    // The run stops at step 8, resumes from step 5, stops at step 11, and resumes from step 10.
    assert!(!train(interrupted.path(), Some(8)).0.finished);
    // An incomplete checkpoint of a killed process is removed.
    std::fs::create_dir(interrupted.path().join("checkpoints/.partial-killed")).unwrap();
    assert_eq!(train(interrupted.path(), Some(6)).0.steps, 11);
    assert!(!interrupted.path().join("checkpoints/.partial-killed").exists());
    let (resumed, got) = train(interrupted.path(), None);
    assert!(resumed.finished);
    assert_eq!(resumed.tokens, report.tokens);
    assert_eq!(got, want);
    assert_eq!(metrics_text(uninterrupted.path()), metrics_text(interrupted.path()));

    // Without the newest checkpoint, a run resumes from the previous checkpoint.
    std::fs::remove_dir_all(interrupted.path().join("checkpoints/step-00000020")).unwrap();
    let (resumed, got) = train(interrupted.path(), None);
    assert_eq!((resumed.steps, resumed.tokens), (20, report.tokens));
    assert_eq!(got, want);
    assert_eq!(metrics_text(uninterrupted.path()), metrics_text(interrupted.path()));

    // A finished run is not trained again, and only the newest two checkpoints remain.
    assert_eq!(train(interrupted.path(), None).0.final_loss, report.final_loss);
    assert_eq!(std::fs::read_dir(interrupted.path().join("checkpoints")).unwrap().count(), 2);
}

#[test]
fn frozen_parameters_do_not_change_and_groups_have_separate_rates() {
    let _lock = lock_rng();
    let model = tiny_model(3);
    let before: Vec<Tensor> =
        model.named_parameters().iter().map(|(_, tensor)| tensor.copy()).collect();
    let folder = tempfile::tempdir().unwrap();
    let groups = vec![
        trainer::GroupConfig {
            prefixes: vec!["roberta.embeddings".into()],
            frozen: true,
            ..Default::default()
        },
        trainer::GroupConfig {
            prefixes: vec!["roberta.encoder.layer.0".into()],
            learning_rate: Some(0.0),
            ..Default::default()
        },
    ];
    let config = TrainConfig { groups, ..twenty_step_config() };
    let parameters = model.named_parameters();
    fit(&stage(folder.path(), None), &config, &parameters, &mut MaskedLmTask::new(&model)).unwrap();
    for ((name, after), before) in parameters.iter().zip(&before) {
        let is_frozen =
            name.starts_with("roberta.embeddings") || name.starts_with("roberta.encoder.layer.0");
        // Biases of keys cancel in the softmax, so their gradient is zero except for rounding.
        if !name.ends_with("key.bias") {
            assert_eq!(after == before, is_frozen, "{name}");
        }
        assert!(after.requires_grad(), "{name} is trainable again after the stage");
    }
    let invalid = TrainConfig {
        groups: vec![trainer::GroupConfig { prefixes: vec!["bert.".into()], ..Default::default() }],
        ..config
    };
    let folder = tempfile::tempdir().unwrap();
    let error =
        fit(&stage(folder.path(), None), &invalid, &parameters, &mut MaskedLmTask::new(&model))
            .unwrap_err();
    assert!(error.to_string().contains("\"bert.\""), "{error}");
}

#[test]
fn accumulated_gradients_equal_those_of_one_large_batch() {
    let _lock = lock_rng();
    let rows = Tensor::arange(35, (tch::Kind::Double, Device::Cpu)).sin().view([7, 5]);
    let weight = Tensor::arange(5, (tch::Kind::Double, Device::Cpu)).cos().set_requires_grad(true);
    // Two losses with different numbers of targets: the first over all rows, the second over rows
    // with an odd index.
    let losses = |part: &Tensor, odd: &Tensor| {
        let out = part.matmul(&weight).tanh();
        (out.square().sum(tch::Kind::Double), (out * odd).sum(tch::Kind::Double))
    };
    let odd = Tensor::arange(7, (tch::Kind::Double, Device::Cpu)).remainder(2);
    let (all_sum, odd_sum) = losses(&rows, &odd);
    let want = all_sum / 7.0 + odd_sum / 3.0 * 0.25;
    want.backward();
    let want_grad = weight.grad().copy();
    let _ = weight.grad().zero_();
    let parts = [(0, 3), (3, 1), (4, 3)]
        .map(|(first, count)| trainer::MicroBatch { first, rows: (first as i64, count) });
    let got = trainer::accumulate(&StepContext::default(), &parts, |&(first, count)| {
        let (all_sum, odd_sum) =
            losses(&rows.narrow(0, first, count), &odd.narrow(0, first, count));
        Ok(vec![
            trainer::WeightedLoss { name: "all", weight: 1.0, loss: all_sum / 7.0 },
            trainer::WeightedLoss { name: "odd", weight: 0.25, loss: odd_sum / 3.0 },
        ])
    })
    .unwrap();
    let is_close = |got: &Tensor, want: &Tensor| (got - want).abs().max().double_value(&[]) < 1e-14;
    assert!(is_close(&got.total, &want) && got.is_accumulated);
    assert!(is_close(&weight.grad(), &want_grad));
    assert_eq!(got.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["all", "odd"]);
}
