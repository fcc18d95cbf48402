//! Tests of `cached_step`: gradients equal those of one large batch, with and without dropout.
use std::sync::Mutex;

use crate::common::{assert_near, scalar, sines, tensor};
use objectives::tch::{Device, Kind, Tensor};
use objectives::{
    ContrastConfig, ContrastRowInfo, Error, InfoNceConfig, MicroBatch, MicroBatchSeeds,
    NegativeQueue, QueueConfig, StepContext, cached_step, info_nce, masked_entity_prediction,
};
use torch_ext::{dropout_factors_like, token_offsets};

/// A lock for tests that draw from the random generator of the process.
static GENERATOR_LOCK: Mutex<()> = Mutex::new(());

/// Two layers with dropout between them, for queries and keys.
struct Encoder {
    first: Tensor,
    second: Tensor,
    scale: Tensor,
}

impl Encoder {
    fn new() -> Self {
        let leaf =
            |rows, columns, step| tensor(&sines(rows, columns, step, 0.8)).set_requires_grad(true);
        Self { first: leaf(6, 10, 0.731), second: leaf(10, 8, 1.137), scale: leaf(1, 8, 0.391) }
    }

    fn embed(&self, rows: &Tensor, dropout: f64) -> Result<Vec<Tensor>, Error> {
        let apply_dropout = |x: Tensor| -> Result<Tensor, Error> {
            let offsets = token_offsets(x.size()[0], 1)?;
            Ok(x.f_mul(&dropout_factors_like(&x, &offsets, dropout)?)?)
        };
        let hidden = apply_dropout(rows.f_matmul(&self.first)?.f_tanh()?)?;
        let query = hidden.f_matmul(&self.second)?;
        let key = apply_dropout(hidden.f_mul_scalar(0.5)?)?.f_matmul(&self.second)?;
        Ok(vec![query, key])
    }

    /// Computes the loss with `scale`, a parameter that `embed` does not use, as in a projection
    /// head.
    fn loss(&self, embeddings: &[Tensor]) -> Result<Tensor, Error> {
        let query = embeddings[0].f_mul(&self.scale)?;
        let config = InfoNceConfig { temperature: 0.5, ..Default::default() };
        info_nce(&query, &embeddings[1], None, 0, &ContrastRowInfo::default(), &config)
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
    tensor(&sines(11, 6, 0.417, 1.5))
}

fn micro_batches() -> Vec<MicroBatch<Tensor>> {
    let micro_batch = |(first, count): (usize, i64)| MicroBatch {
        first,
        rows: rows().narrow(0, i64::try_from(first).unwrap(), count),
    };
    [(0, 4), (4, 4), (8, 3)].map(micro_batch).into()
}

fn step(encoder: &Encoder, batches: &[MicroBatch<Tensor>], dropout: f64) -> Result<Tensor, Error> {
    let embed = |rows: &Tensor| encoder.embed(rows, dropout);
    cached_step(&StepContext::default(), batches, Device::Cpu, embed, |embeddings| {
        encoder.loss(embeddings)
    })
}

#[test]
fn gradients_equal_those_of_one_large_batch_with_equal_dropout() {
    let _lock = GENERATOR_LOCK.lock();
    let (encoder, micro_batches) = (Encoder::new(), micro_batches());
    for dropout in [0.0, 0.4] {
        objectives::tch::manual_seed(5);
        let seeds = MicroBatchSeeds::new().unwrap();
        let expected_loss = encoder.loss(&encoder.embed(&rows(), dropout).unwrap()).unwrap();
        expected_loss.backward();
        let expected_grads = encoder.take_gradients();
        objectives::tch::manual_seed(5);
        let actual = step(&encoder, &micro_batches, dropout).unwrap();
        assert_near(scalar(&actual), scalar(&expected_loss), 1e-14);
        assert!(!actual.requires_grad());
        for (actual, expected) in encoder.take_gradients().iter().zip(&expected_grads) {
            testkit::assert_close("gradient", actual, expected, 1e-12);
        }
        if dropout > 0.0 {
            // After the step, the state of the generator does not depend on the embedded
            // micro-batches.
            let draw = || Tensor::randn([4], (Kind::Double, Device::Cpu));
            let next_draw = draw();
            seeds.enter(0).unwrap();
            assert_eq!(next_draw, draw());
            continue;
        }
        // The loss of gradient accumulation differs, because the negatives of a row come from its
        // micro-batch only.
        let separate_loss = |micro_batch: &MicroBatch<Tensor>| {
            scalar(&encoder.loss(&encoder.embed(&micro_batch.rows, 0.0).unwrap()).unwrap())
        };
        let separate_losses: f64 = micro_batches.iter().map(separate_loss).sum();
        assert!((separate_losses / 3.0 - scalar(&expected_loss)).abs() > 0.1);
    }
}

#[test]
fn keys_are_pushed_once() {
    let _lock = GENERATOR_LOCK.lock();
    let (encoder, micro_batches) = (Encoder::new(), micro_batches());
    let config = QueueConfig { size: 20, ..Default::default() };
    let mut queue = NegativeQueue::new(8, (Kind::Double, Device::Cpu), &config).unwrap();
    let keys_before = queue.keys().unwrap();
    let contrast_rows = ContrastRowInfo::default();
    let _ = cached_step(
        &StepContext::default(),
        &micro_batches,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |embeddings| {
            masked_entity_prediction(
                &embeddings[0],
                &embeddings[1],
                &mut queue,
                &contrast_rows,
                &ContrastConfig::paper(),
            )
        },
    )
    .unwrap();
    let keys_after = queue.keys().unwrap();
    assert_eq!(keys_after.narrow(0, 0, 9), keys_before.narrow(0, 11, 9));
    let keys = encoder.embed(&rows(), 0.0).unwrap().remove(1);
    testkit::assert_close("pushed", &keys_after.narrow(0, 9, 11), &keys.detach(), 1e-12);
}

#[test]
fn errors_name_their_cause() {
    let _lock = GENERATOR_LOCK.lock();
    let (encoder, micro_batches) = (Encoder::new(), micro_batches());
    let no_micro_batches: [MicroBatch<Tensor>; 0] = [];
    assert!(matches!(
        step(&encoder, &no_micro_batches, 0.0),
        Err(Error::Empty { tensor: "micro_batches", .. })
    ));
    let mut call_count = 0;
    let result = cached_step(
        &StepContext::default(),
        &micro_batches,
        Device::Cpu,
        |rows| {
            call_count += 1;
            let mut embeddings = encoder.embed(rows, 0.0)?;
            embeddings.truncate(if call_count == 2 { 1 } else { 2 });
            Ok(embeddings)
        },
        |embeddings| encoder.loss(embeddings),
    );
    assert!(matches!(result, Err(Error::Count { expected: 2, got: 1, .. })), "{result:?}");
    let result = cached_step(
        &StepContext::default(),
        &micro_batches,
        Device::Cpu,
        |rows| encoder.embed(rows, 0.0),
        |_| Err(Error::Missing { argument: "ids", reason: "a test" }),
    );
    assert!(matches!(result, Err(Error::Missing { argument: "ids", .. })));
}
