//! The training loop.
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::metrics::{MetricsWriter, StepMetrics};
use crate::seed::{rng_for, seed_for};
use crate::{
    AdamW, Batches, Checkpoint, Environment, LinearSchedule, Progress, Result, Step, Task,
    TrainConfig, TrainError,
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
    parts: BTreeMap<String, f64>,
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
    config.validate()?;
    if task.lengths().is_empty() {
        return Err(TrainError::NoExamples { stage: stage.name.clone() });
    }
    std::fs::create_dir_all(&stage.folder)
        .map_err(|error| TrainError::file(&stage.folder, error))?;
    let mut optimizer = AdamW::new(parameters, config)?;
    let checkpoints = stage.folder.join("checkpoints");
    let fingerprint = fingerprint(config, task)?;
    let resumed = Checkpoint::resume(&checkpoints, parameters, &mut optimizer, &fingerprint)?;
    if let Some((from, state)) = &resumed {
        let path = checkpoints.join(format!("step {}", from.step));
        task.restore(state).map_err(|error| TrainError::file(&path, error))?;
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
    let total = config.total_steps(task.lengths().len());
    let schedule = LinearSchedule::new(total, config.warmup_ratio, config.decay)?;
    let batches =
        Batches::new(task.lengths(), config.batch_size, config.bucket_batches, config.seed);
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
    let mut epoch = (u64::MAX, Vec::new());
    let mut final_loss = f64::NAN;
    let mut step = first;
    let stop = stage.interrupt_after.map_or(total, |n| total.min(first.saturating_add(n)));
    while step < stop {
        let number = step / batches.per_epoch();
        if epoch.0 != number {
            epoch = (number, batches.epoch(number));
        }
        let place = usize::try_from(step % batches.per_epoch()).unwrap_or(usize::MAX);
        let batch = epoch.1.get(place).map(Vec::as_slice).unwrap_or_default();
        tch::manual_seed(seed_for(config.seed, "torch", step));
        let rng = rng_for(config.seed, "task", step);
        let mut context = Step { batch, number: step, total, rng };
        optimizer.clear_grads()?;
        let losses = task.losses(&mut context).map_err(|source| TrainError::Task {
            stage: stage.name.clone(),
            step,
            source,
        })?;
        let not_finite = |what: &str, value: f64| TrainError::NotFinite {
            stage: stage.name.clone(),
            step,
            what: what.to_owned(),
            value,
        };
        let loss = losses.total.f_double_value(&[])?;
        for (name, part) in &losses.parts {
            let value = part.f_double_value(&[])?;
            if !value.is_finite() {
                return Err(not_finite(&format!("loss/{name}"), value));
            }
            *pending.parts.entry(format!("loss/{name}")).or_default() += value;
        }
        if !loss.is_finite() {
            return Err(not_finite("loss", loss));
        }
        if !losses.accumulated {
            losses.total.f_backward()?;
        }
        let factor = schedule.factor(step);
        let grad_norm = optimizer.step(factor)?;
        if !grad_norm.is_finite() {
            return Err(not_finite("gradient norm", grad_norm));
        }
        tokens += losses.tokens.unwrap_or_else(|| batches.tokens(batch));
        step += 1;
        pending.loss += loss;
        pending.count += 1;
        progress.update(step, pending.loss / pending.count as f64);
        if step % config.log_steps == 0 || step == total {
            let count = pending.count as f64;
            final_loss = pending.loss / count;
            metrics.write(&StepMetrics {
                step,
                epoch: step as f64 / batches.per_epoch() as f64,
                loss: final_loss,
                parts: pending.parts.iter().map(|(k, v)| (k.clone(), v / count)).collect(),
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
            let of_task = task.state().map_err(|source| TrainError::Task {
                stage: stage.name.clone(),
                step,
                source,
            })?;
            state.save(&checkpoints, parameters, &optimizer, &of_task, config.keep_checkpoints)?;
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

fn fingerprint(config: &TrainConfig, task: &dyn Task) -> Result<String> {
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
    hash.update(task.fingerprint().as_bytes());
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn last_loss(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let last = text.lines().last()?;
    serde_json::from_str::<StepMetrics>(last).ok().map(|metrics| metrics.loss)
}
