//! Comparison of the optimiser with traces of PyTorch's AdamW in transformers, in float64
//! (crates/testkit/fixtures/hf).
use objectives::{MaskedLmConfig, SpanConfig, masked_lm, masked_positions, span};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use testkit::{Golden, fixture};
use trainer::{AdamW, TrainConfig};
use xlmr_model::{Head, Inputs, LoadOptions, Model};

#[derive(Deserialize)]
struct FixtureMeta {
    train_trace: Trace,
}

#[derive(Deserialize)]
struct Trace {
    hyper: HyperParameters,
    losses: Vec<f64>,
    grad_norms_before_clip: Vec<f64>,
}

#[derive(Deserialize)]
struct HyperParameters {
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    max_grad_norm: f64,
}

fn assert_equals_trace(
    case: &str,
    head: Head,
    loss: impl Fn(&Model, &Golden<Tensor>, &Tensor) -> Tensor,
) {
    let folder = fixture(&format!("hf/{case}"));
    let text = std::fs::read_to_string(folder.join("meta.json")).unwrap();
    let trace = serde_json::from_str::<FixtureMeta>(&text).unwrap().train_trace;
    let (mut model, _) =
        Model::load(&folder, &[head], Device::Cpu, LoadOptions::default()).unwrap();
    model.set_kind(Kind::Double).unwrap();
    let batch = Golden::load(&folder.join("inputs.safetensors"), Tensor::read_safetensors);
    let config = TrainConfig {
        learning_rate: trace.hyper.lr,
        betas: trace.hyper.betas,
        eps: trace.hyper.eps,
        weight_decay: trace.hyper.weight_decay,
        max_grad_norm: Some(trace.hyper.max_grad_norm),
        ..TrainConfig::default()
    };
    let mut optimizer = AdamW::new(&model.named_parameters(), &config).unwrap();
    for (step, (want_loss, want_norm)) in
        trace.losses.iter().zip(&trace.grad_norms_before_clip).enumerate()
    {
        let inputs = Inputs::masked(
            batch["b0.input_ids"].shallow_clone(),
            batch["b0.attention_mask"].shallow_clone(),
        );
        let hidden = model.encode(&inputs, false).unwrap();
        let loss = loss(&model, &batch, &hidden);
        optimizer.clear_grads().unwrap();
        loss.backward();
        let norm = optimizer.step(1.0).unwrap();
        for (name, got, want) in
            [("loss", loss.double_value(&[]), want_loss), ("norm", norm, want_norm)]
        {
            assert!((got - want).abs() < 1e-9, "{case}, step {step}: {name} {got}, want {want}");
        }
    }
}

#[test]
fn masked_lm_training_equals_the_trace() {
    assert_equals_trace("mlm", Head::MaskedLm, |model, batch, hidden| {
        let masked = masked_positions(&batch["b0.labels"]).unwrap();
        let logits = model.mlm_logits(&masked.gather(hidden).unwrap()).unwrap();
        masked_lm(&logits, &masked.targets, &MaskedLmConfig::default()).unwrap()
    });
}

#[test]
fn question_answering_training_equals_the_trace() {
    assert_equals_trace("qa", Head::Span, |model, batch, hidden| {
        let (start_logits, end_logits) = model.span_logits(hidden, true).unwrap();
        span(
            &start_logits,
            &end_logits,
            &batch["b0.start_positions"],
            &batch["b0.end_positions"],
            None,
            &SpanConfig::default(),
        )
        .unwrap()
    });
}
