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

fn step(encoder: &Encoder, parts: &[MicroBatch<Tensor>], dropout: f64) -> Result<Tensor, Error> {
    let embed = |rows: &Tensor| encoder.embed(rows, dropout);
    cached_step(parts, Device::Cpu, embed, |embeddings| encoder.loss(embeddings))
}

#[test]
fn gradients_equal_those_of_one_large_batch_with_equal_dropout() {
    let _lock = GENERATOR.lock();
    let (encoder, parts) = (Encoder::new(), micro_batches());
    for dropout in [0.0, 0.4] {
        objectives::tch::manual_seed(5);
        let seeds = MicroBatchSeeds::new().unwrap();
        let expected_loss = encoder.loss(&encoder.embed(&rows(), dropout).unwrap()).unwrap();
        expected_loss.backward();
        let expected_grads = encoder.take_gradients();
        objectives::tch::manual_seed(5);
        let actual = step(&encoder, &parts, dropout).unwrap();
        assert_near(scalar(&actual), scalar(&expected_loss), 1e-14);
        assert!(!actual.requires_grad());
        for (actual, expected) in encoder.take_gradients().iter().zip(&expected_grads) {
            testkit::assert_close("gradient", actual, expected, 1e-12);
        }
        if dropout > 0.0 {
            // The generator continues from the same state, whichever micro-batches a process
            // embedded.
            let draw = || Tensor::randn([4], (Kind::Double, Device::Cpu));
            let next = draw();
            seeds.enter(0).unwrap();
            assert_eq!(next, draw());
            continue;
        }
        // Gradient accumulation has a different loss, because negatives come from the same
        // micro-batch.
        let separate_loss = |part: &MicroBatch<Tensor>| {
            scalar(&encoder.loss(&encoder.embed(&part.rows, 0.0).unwrap()).unwrap())
        };
        let separate_losses: f64 = parts.iter().map(separate_loss).sum();
        assert!((separate_losses / 3.0 - scalar(&expected_loss)).abs() > 0.1);
    }
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
    assert!(matches!(
        step(&encoder, &none, 0.0),
        Err(Error::Empty { tensor: "micro_batches", .. })
    ));
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
    let result = cached_step(
        &parts,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |_| Err(Error::Missing { argument: "ids", reason: "a test" }),
    );
    assert!(matches!(result, Err(Error::Missing { argument: "ids", .. })));
}
