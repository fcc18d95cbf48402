//! Comparisons of two formulations of InfoNCE in both directions with a queue of keys: streamed
//! over the queue, and with a ring buffer that is updated in place.
use std::cell::RefCell;

use anyhow::Result;
use objectives::{ContrastConfig, ContrastRowInfo, NegativeQueue, QueueConfig, info_nce};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec, Step};

const BATCH: i64 = 256;
const WIDTH: i64 = 768;
const TEMPERATURE: f64 = 0.1;

/// Returns the comparisons of `info_nce`.
pub(crate) fn specs(quick: bool, device: Device) -> Vec<Spec> {
    let spec = |size: i64| {
        Spec::new("info_nce", format!("B={BATCH},Q={size},D={WIDTH}"), move || case(size, device))
            .goal(0.65)
    };
    let mut specs = vec![spec(32_768).goal_mib(40.0)];
    if !quick {
        specs.extend([8_192, 65_536].map(spec));
    }
    specs
}

fn case(size: i64, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(size, device)?);
    Ok(Case::new(step("streamed", Inputs::streamed), vec![step("ring in place", Inputs::ring)])
        .with_unit(matmuls(size, device))
        .with_tolerance(1e-4))
}

/// The step whose time is the denominator of the reported ratio: only the matmuls with the queue,
/// in the forward and backward passes of both directions. Uses libtorch's default kernel and
/// preallocated outputs.
fn matmuls(size: i64, device: Device) -> Step {
    let buffers = std::cell::OnceCell::new();
    Step::new("products with the queue", move || {
        let matrix = |rows, columns| Tensor::f_randn([rows, columns], (Kind::Float, device));
        if buffers.get().is_none() {
            let _ = buffers.set([
                matrix(2 * BATCH, WIDTH)?,
                matrix(size, WIDTH)?,
                matrix(2 * BATCH, size)?,
                matrix(2 * BATCH, WIDTH)?,
            ]);
        }
        if let Some([anchors, queue, similarities, gradient]) = buffers.get() {
            let _ = anchors.f_mm_out(similarities, &queue.f_tr()?)?;
            let _ = similarities.f_mm_out(gradient, queue)?;
        }
        Ok(0.0)
    })
}

/// Random queries, keys and queue. New keys are pushed into a second queue, so that the first queue
/// is the same in every step.
struct Inputs {
    query: Tensor,
    key: Tensor,
    queue: NegativeQueue,
    pushed_queue: RefCell<NegativeQueue>,
    normalised_queue: Tensor,
}

impl Inputs {
    fn random(size: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let options = (Kind::Float, device);
        let leaf = || -> Result<Tensor> {
            Ok(Tensor::f_randn([BATCH, WIDTH], options)?.f_set_requires_grad(true)?)
        };
        let config = QueueConfig { size, ..Default::default() };
        let queue = NegativeQueue::new(WIDTH, options, &config)?;
        Ok(Self {
            query: leaf()?,
            key: leaf()?,
            pushed_queue: RefCell::new(NegativeQueue::new(WIDTH, options, &config)?),
            normalised_queue: normalise(&queue.keys()?)?,
            queue,
        })
    }

    /// This project's formulation.
    fn streamed(&self) -> Result<f64> {
        let config = ContrastConfig::released(TEMPERATURE).loss;
        let row_info = ContrastRowInfo::default();
        let loss = info_nce(&self.query, &self.key, Some(&self.queue), 0, &row_info, &config)?;
        self.pushed_queue.borrow_mut().push(&self.key, None)?;
        backward(loss, &[&self.query, &self.key])
    }

    /// Writes normalised keys to a ring buffer in place, without copying the queue, and computes
    /// all similarities at once.
    fn ring(&self) -> Result<f64> {
        let (query, key) = (normalise(&self.query)?, normalise(&self.key)?);
        let anchors = Tensor::f_cat(&[&query, &key], 0)?;
        let in_batch = anchors.f_matmul(&anchors.f_tr()?)?;
        let device = anchors.device();
        let is_self = Tensor::f_eye(2 * BATCH, (Kind::Bool, device))?;
        let in_batch = in_batch.f_masked_fill(&is_self, f64::NEG_INFINITY)?;
        let queued = anchors.f_matmul(&self.normalised_queue.f_tr()?)?;
        let logits = Tensor::f_cat(&[in_batch, queued], 1)?.f_div_scalar(TEMPERATURE)?;
        let rows = Tensor::f_arange(2 * BATCH, (Kind::Int64, device))?;
        let labels = rows.f_add_scalar(BATCH)?.f_remainder(2 * BATCH)?;
        let loss =
            logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        self.pushed_queue.borrow_mut().push(&key, None)?;
        backward(loss, &[&self.query, &self.key])
    }
}

fn normalise(rows: &Tensor) -> Result<Tensor> {
    let norm = rows.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(1e-4)?;
    Ok(rows.f_div(&norm)?)
}
