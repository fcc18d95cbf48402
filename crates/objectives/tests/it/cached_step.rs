//! Tests of `cached_step`: gradients equal those of one large batch, with and without dropout.
use std::sync::Mutex;

use crate::common::{assert_near, ramp, scalar, tensor};
use objectives::tch::{Device, Kind, Tensor};
use objectives::{
    ContrastConfig, ContrastRows, Error, InfoNceConfig, MicroBatch, MicroBatchSeeds, NegativeQueue,
    QueueConfig, cached_step, info_nce, masked_entity_prediction,
};
use torch_ext::{dropout_factors_like, token_offsets};

/// Dropout draws from the process-wide generator.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Two layers with dropout between them, for queries and keys.
struct Encoder {
    first: Tensor,
    second: Tensor,
    scale: Tensor,
}

impl Encoder {
    fn new() -> Self {
        let leaf =
            |rows, columns, step| tensor(&ramp(rows, columns, step, 0.8)).set_requires_grad(true);
        Self { first: leaf(6, 10, 0.731), second: leaf(10, 8, 1.137), scale: leaf(1, 8, 0.391) }
    }

    fn embed(&self, rows: &Tensor, dropout: f64) -> Result<Vec<Tensor>, Error> {
        let drop = |x: Tensor| -> Result<Tensor, Error> {
            let offsets = token_offsets(x.size()[0], 1)?;
            Ok(x.f_mul(&dropout_factors_like(&x, &offsets, dropout)?)?)
        };
        let hidden = drop(rows.f_matmul(&self.first)?.f_tanh()?)?;
        let query = hidden.f_matmul(&self.second)?;
        let key = drop(hidden.f_mul_scalar(0.5)?)?.f_matmul(&self.second)?;
        Ok(vec![query, key])
    }

    /// Computes a loss with a parameter that `embed` does not use, as a projection head does.
    fn loss(&self, embeddings: &[Tensor]) -> Result<Tensor, Error> {
        let query = embeddings[0].f_mul(&self.scale)?;
        let config = InfoNceConfig { temperature: 0.5, ..Default::default() };
        info_nce(&query, &embeddings[1], None, 0, &ContrastRows::default(), &config)
    }

    fn take_gradients(&self) -> Vec<Tensor> {
        [&self.first, &self.second, &self.scale]
            .map(|parameter| {
                let mut grad = parameter.grad();
                let gradient_copy = grad.copy();
                let _ = grad.zero_();
                gradient_copy
            })
            .into()
    }
}

fn rows() -> Tensor {
    tensor(&ramp(11, 6, 0.417, 1.5))
}

fn micro_batches() -> Vec<MicroBatch<Tensor>> {
    let part = |(first, count): (usize, i64)| MicroBatch {
        first,
        rows: rows().narrow(0, i64::try_from(first).unwrap(), count),
    };
    [(0, 4), (4, 4), (8, 3)].map(part).into()
}

#[test]
fn gradients_equal_those_of_one_large_batch() {
    let _lock = GENERATOR.lock();
    let (encoder, parts) = (Encoder::new(), micro_batches());
    let full = encoder.embed(&rows(), 0.0).unwrap();
    let expected_loss = encoder.loss(&full).unwrap();
    expected_loss.backward();
    let expected_grads = encoder.take_gradients();
    let actual = cached_step(
        &parts,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |embeddings| encoder.loss(embeddings),
    )
    .unwrap();
    assert_near(scalar(&actual), scalar(&expected_loss), 1e-14);
    assert!(!actual.requires_grad());
    for (actual, expected_loss) in encoder.take_gradients().iter().zip(&expected_grads) {
        testkit::assert_close("gradient", actual, expected_loss, 1e-12);
    }
    // Gradient accumulation has a different loss, because negatives come from the same micro-batch.
    let separate_losses: f64 = parts
        .iter()
        .map(|part| scalar(&encoder.loss(&encoder.embed(&part.rows, 0.0).unwrap()).unwrap()))
        .sum();
    assert!((separate_losses / 3.0 - scalar(&expected_loss)).abs() > 0.1);
}

#[test]
fn both_passes_use_the_same_dropout() {
    let _lock = GENERATOR.lock();
    let (encoder, parts) = (Encoder::new(), micro_batches());
    objectives::tch::manual_seed(5);
    let seeds = MicroBatchSeeds::new().unwrap();
    let expected_loss = encoder.loss(&encoder.embed(&rows(), 0.4).unwrap()).unwrap();
    expected_loss.backward();
    let expected_grads = encoder.take_gradients();
    objectives::tch::manual_seed(5);
    let actual = cached_step(
        &parts,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.4),
        |embeddings| encoder.loss(embeddings),
    )
    .unwrap();
    assert_near(scalar(&actual), scalar(&expected_loss), 1e-14);
    for (actual, expected_loss) in encoder.take_gradients().iter().zip(&expected_grads) {
        testkit::assert_close("gradient", actual, expected_loss, 1e-12);
    }
    // The generator continues from the same state, whichever micro-batches a process embedded.
    let draw = || Tensor::randn([4], (Kind::Double, Device::Cpu));
    let next = draw();
    seeds.enter(0).unwrap();
    assert_eq!(next, draw());
}

#[test]
fn keys_are_pushed_once() {
    let _lock = GENERATOR.lock();
    let (encoder, parts) = (Encoder::new(), micro_batches());
    let config = QueueConfig { size: 20, ..Default::default() };
    let mut queue = NegativeQueue::new(8, (Kind::Double, Device::Cpu), &config).unwrap();
    let before = queue.keys().unwrap();
    let plain = ContrastRows::default();
    let _ = cached_step(
        &parts,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |embeddings| {
            masked_entity_prediction(
                &embeddings[0],
                &embeddings[1],
                &mut queue,
                &plain,
                &ContrastConfig::paper(),
            )
        },
    )
    .unwrap();
    let after = queue.keys().unwrap();
    assert_eq!(after.narrow(0, 0, 9), before.narrow(0, 11, 9));
    let keys = encoder.embed(&rows(), 0.0).unwrap().remove(1);
    testkit::assert_close("pushed", &after.narrow(0, 9, 11), &keys.detach(), 1e-12);
}

#[test]
fn errors_name_their_cause() {
    let _lock = GENERATOR.lock();
    let (encoder, parts) = (Encoder::new(), micro_batches());
    let none: [MicroBatch<Tensor>; 0] = [];
    let empty = cached_step(
        &none,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |embeddings| encoder.loss(embeddings),
    );
    assert!(matches!(empty, Err(Error::Empty { tensor: "micro_batches", .. })));
    let mut calls = 0;
    let unequal_sizes = cached_step(
        &parts,
        Device::Cpu,
        |rows| {
            calls += 1;
            let mut embedded = encoder.embed(rows, 0.0)?;
            embedded.truncate(if calls == 2 { 1 } else { 2 });
            Ok(embedded)
        },
        |embeddings| encoder.loss(embeddings),
    );
    assert!(
        matches!(unequal_sizes, Err(Error::Count { expected: 2, got: 1, .. })),
        "{unequal_sizes:?}"
    );
    let failing = cached_step(
        &parts,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |_| Err(Error::Missing { argument: "ids", reason: "a test" }),
    );
    assert!(matches!(failing, Err(Error::Missing { argument: "ids", .. })));
}
