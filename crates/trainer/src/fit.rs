//! The training loop.
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::lane::{Rota, expect_lanes};
use crate::lane_run::LaneRun;
use crate::metrics::{MetricsWriter, StepMetrics};
use crate::{
    AdamW, Checkpoint, Environment, Lane, LinearSchedule, Progress, Result, Task, TrainConfig,
    TrainError,
};

/// Where a stage keeps its files and what it is called.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Shown in progress and errors.
    pub name: String,
    /// Holds `metrics.jsonl` and `checkpoints/`.
    pub folder: PathBuf,
    /// What bit-for-bit equality depends on beside seed and data.
    pub environment: Environment,
    /// Stops after this many steps of this call, as an interruption would; for tests.
    pub interrupt_after: Option<u64>,
}

/// What a stage did.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Updates made.
    pub steps: u64,
    /// Tokens seen, padding left out.
    pub tokens: u64,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
    /// Mean loss of the last line of metrics.
    pub final_loss: f64,
    /// Whether the stage ended, rather than being interrupted.
    pub finished: bool,
}

#[derive(Default)]
struct Pending {
    loss: f64,
    count: u64,
    parts: BTreeMap<String, (f64, u64)>,
}

impl Pending {
    fn means(&self) -> BTreeMap<String, f64> {
        let mean =
            |(name, (sum, count)): (&String, &(f64, u64))| (name.clone(), sum / *count as f64);
        self.parts.iter().map(mean).collect()
    }
}

/// Trains `parameters` on `task`, from the newest checkpoint of the stage's folder where there is one.
///
/// Steps are seeded one by one (see the crate's text on resuming). A checkpoint is written every
/// `checkpoint_steps` and at the end.
///
/// # Errors
/// [`TrainError`]: a setting out of range, no examples, a loss that is not finite, a file that cannot be read or
/// written, or the task's own error.
pub fn fit(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    task: &mut dyn Task,
) -> Result<FitReport> {
    fit_tasks(stage, config, parameters, &mut [Lane::new(stage.name.as_str(), task)])
}

/// Trains `parameters` on several tasks in turn, with one optimiser, one schedule and one checkpoint.
///
/// A round goes through `lanes` in their order, each with its `batches_per_round`. Under
/// [`Updates::Sequential`](crate::Updates::Sequential) each batch is a step with an update of its own, as in mixMRC + LAKM (Yuan
/// et al. 2020, §4.3); under [`Updates::Summed`](crate::Updates::Summed) a round is a step, whose gradient is the sum of its
/// batches' gradients.
///
/// - `config.epochs` counts passes over the first lane, to the end of the last round; every other lane begins anew when its
///   examples are used up. `config.steps` counts updates.
/// - Each task sees its own batches, counted from 0 ([`Step::number`](crate::Step::number)), with an order and a generator that
///   depend on the seed, the lane's name and that number: not on what the other lanes do.
/// - `metrics.jsonl` names the parts `loss/<lane>/<part>`, means over the batches that had them; `loss` is the mean over
///   steps, of whichever lane.
/// - One lane is the same as [`fit`], bit for bit.
///
/// # Errors
/// As [`fit`]; [`TrainError::Config`] also for lanes without a name of their own, or without a batch in a round.
///
/// # Example
/// ```no_run
/// use tch::Tensor;
/// use trainer::{Lane, Stage, Task, TrainConfig, fit_tasks};
///
/// fn train(
///     stage: &Stage,
///     parameters: &[(String, Tensor)],
///     reading: &mut dyn Task,
///     phrases: &mut dyn Task,
/// ) -> trainer::Result<()> {
///     let mut lanes = [
///         Lane { batches_per_round: 2, ..Lane::new("reading", reading) },
///         Lane { batch_size: Some(8), ..Lane::new("phrases", phrases) },
///     ];
///     fit_tasks(stage, &TrainConfig::default(), parameters, &mut lanes)?;
///     Ok(())
/// }
/// ```
pub fn fit_tasks(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    lanes: &mut [Lane<'_>],
) -> Result<FitReport> {
    config.validate()?;
    expect_lanes(&stage.name, lanes)?;
    std::fs::create_dir_all(&stage.folder)
        .map_err(|error| TrainError::file(&stage.folder, error))?;
    let mut optimizer = AdamW::new(parameters, config)?;
    let checkpoints = stage.folder.join("checkpoints");
    let fingerprint = fingerprint(config, lanes)?;
    let rota = Rota::new(
        lanes.iter().map(|lane| u64::from(lane.batches_per_round)).collect(),
        config.updates,
    );
    let count = lanes.len();
    let mut runs: Vec<LaneRun<'_, '_>> =
        lanes.iter_mut().map(|lane| LaneRun::new(stage, config, lane, count)).collect();
    let resumed = Checkpoint::resume(&checkpoints, parameters, &mut optimizer, &fingerprint)?;
    if let Some((from, state)) = &resumed {
        let path = checkpoints.join(format!("step {}", from.step));
        for run in &mut runs {
            run.restore(state).map_err(|error| TrainError::file(&path, error))?;
        }
    }
    let resumed = resumed.map(|(from, _)| from);
    if let Some(from) = resumed.as_ref().filter(|from| from.environment != stage.environment) {
        let _ = writeln!(
            std::io::stderr(),
            "{}: resumed under {:?}, begun under {:?}; results may differ in the last digits",
            stage.name,
            stage.environment,
            from.environment
        );
    }
    let per_epoch = runs.first().map_or(1, LaneRun::per_epoch);
    let total = config.steps.unwrap_or_else(|| rota.steps_for(per_epoch * config.epochs));
    let schedule = LinearSchedule::new(total, config.warmup_ratio, config.decay)?;
    for (number, run) in runs.iter_mut().enumerate() {
        run.total = rota.batches_before(number, total);
    }
    let (first, mut tokens, seconds_before, mut pending) = match resumed {
        Some(state) => (
            state.step,
            state.tokens,
            state.seconds,
            Pending { loss: state.pending.0, count: state.pending.1, parts: state.pending_parts },
        ),
        None => (0, 0, 0.0, Pending::default()),
    };
    let mut metrics = MetricsWriter::open(&stage.folder.join("metrics.jsonl"), first)?;
    let mut progress = Progress::new(&stage.name, total, first);
    let start = Instant::now();
    let mut final_loss = f64::NAN;
    let mut step = first;
    let stop = stage.interrupt_after.map_or(total, |n| total.min(first.saturating_add(n)));
    while step < stop {
        optimizer.clear_grads()?;
        for (lane, number) in rota.batches(step) {
            let Some(run) = runs.get_mut(lane) else { continue };
            let batch = run.backward(step, number)?;
            for (name, value) in batch.parts {
                let (sum, count) = pending.parts.entry(name).or_default();
                *sum += value;
                *count += 1;
            }
            pending.loss += batch.loss;
            tokens += batch.tokens;
        }
        let factor = schedule.factor(step);
        let grad_norm = optimizer.step(factor)?;
        if !grad_norm.is_finite() {
            return Err(TrainError::NotFinite {
                stage: stage.name.clone(),
                step,
                what: "gradient norm".into(),
                value: grad_norm,
            });
        }
        step += 1;
        pending.count += 1;
        progress.update(step, pending.loss / pending.count as f64);
        if step % config.log_steps == 0 || step == total {
            final_loss = pending.loss / pending.count as f64;
            metrics.write(&StepMetrics {
                step,
                epoch: rota.batches_before(0, step) as f64 / per_epoch as f64,
                loss: final_loss,
                parts: pending.means(),
                learning_rate: config.learning_rate * factor,
                grad_norm,
                tokens,
            })?;
            pending = Pending::default();
        }
        let due = config.checkpoint_steps.is_some_and(|every| step % every == 0);
        if due || step == total {
            let state = Checkpoint {
                step,
                tokens,
                seconds: seconds_before + start.elapsed().as_secs_f64(),
                fingerprint: fingerprint.clone(),
                environment: stage.environment.clone(),
                pending: (pending.loss, pending.count),
                pending_parts: pending.parts.clone(),
            };
            let mut of_tasks = Vec::new();
            for run in &runs {
                of_tasks.extend(run.state(step)?);
            }
            state.save(&checkpoints, parameters, &optimizer, &of_tasks, config.keep_checkpoints)?;
        }
    }
    optimizer.clear_grads()?;
    progress.finish();
    if final_loss.is_nan() {
        final_loss = last_loss(&stage.folder.join("metrics.jsonl")).unwrap_or(f64::NAN);
    }
    Ok(FitReport {
        steps: step,
        tokens,
        seconds: seconds_before + start.elapsed().as_secs_f64(),
        final_loss,
        finished: step == total,
    })
}

fn fingerprint(config: &TrainConfig, lanes: &[Lane<'_>]) -> Result<String> {
    // How often a state is saved or logged does not change it.
    let decisive =
        TrainConfig { checkpoint_steps: None, keep_checkpoints: 1, log_steps: 1, ..config.clone() };
    let json = serde_json::to_vec(&decisive).map_err(|error| TrainError::Config {
        key: "configuration".into(),
        value: "unprintable".into(),
        rule: error.to_string(),
    })?;
    let mut hash = Sha256::new();
    hash.update(&json);
    for lane in lanes {
        // A single task with the stage's batches says nothing about lanes.
        let size = lane.batch_size.unwrap_or(config.batch_size);
        let plain = size == config.batch_size && lane.batches_per_round == 1;
        let of_task = lane.task.fingerprint();
        if lanes.len() > 1 || !plain {
            let own = (&lane.name, size, lane.batches_per_round, of_task.len());
            hash.update(format!("{own:?}").as_bytes());
        }
        hash.update(of_task.as_bytes());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn last_loss(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let last = text.lines().last()?;
    serde_json::from_str::<StepMetrics>(last).ok().map(|metrics| metrics.loss)
}
