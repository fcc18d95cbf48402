//! The training loop.
use std::time::Instant;

use tch::{Device, Tensor};
use torch_ext::{Precision, TensorMap, region};

use crate::checkpoint::{Checkpoint, remove_older};
use crate::checkpoint::{CheckpointData, CheckpointWriter};
use crate::error::error_text;
use crate::optimizer::LearningRateSchedule;
use crate::ranks::{broadcast_initial_state, first_difference};
use crate::record::StepLog;
use crate::record::StepProfile;
use crate::record::print_note;
use crate::record::{PendingMeans, StepMetrics, last_loss};
use crate::stop::StopSignals;
use crate::task::NotFiniteReport;
use crate::task::RoundRobin;
use crate::task::{ComputeOptions, TaskState};
use crate::task::{NonFinite, StepResult, StepValues};
use crate::task::{
    check_batch_sizes, check_evaluation, check_micro_batches, check_slots, stage_fingerprint,
};
use crate::{
    AdamW, Error, FitReport, LossScaler, ProgressLine, ProgressValues, Result, Stage, Tasks,
    TrainConfig,
};

/// State of a running stage.
pub(crate) struct Training<'a, 't> {
    stage: &'a Stage,
    config: &'a TrainConfig,
    parameters: &'a [(String, Tensor)],
    tasks: Vec<TaskState<'a, 't>>,
    round_robin: RoundRobin,
    optimizer: AdamW,
    schedule: LearningRateSchedule,
    fingerprint: String,
    /// Number of steps in the stage.
    total: u64,
    state: LoopState,
    step_log: StepLog,
    progress: ProgressLine,
    writer: CheckpointWriter,
    /// The largest signal number that the ranks received before this step; `None` without a signal.
    agreed_signal: Option<i32>,
}

/// State that changes every step, except parameters, moments and tasks.
struct LoopState {
    step: u64,
    tokens: u64,
    pending: PendingMeans,
    /// Mean loss of the last line of metrics; NaN before the first line.
    final_loss: f64,
    /// Seconds of earlier parts of a resumed run.
    earlier_seconds: f64,
    start: Instant,
    /// The scale of a float16 loss.
    scaler: Option<LossScaler>,
}

impl LoopState {
    fn new(checkpoint: Option<Checkpoint>, scaler: Option<LossScaler>) -> Self {
        let mut state = Self {
            step: 0,
            tokens: 0,
            pending: PendingMeans::default(),
            final_loss: f64::NAN,
            earlier_seconds: 0.0,
            start: Instant::now(),
            scaler,
        };
        if let Some(checkpoint) = checkpoint {
            let Checkpoint { step, tokens, seconds, pending, pending_parts, loss_scaler, .. } =
                checkpoint;
            (state.step, state.tokens, state.earlier_seconds) = (step, tokens, seconds);
            let (loss_sum, steps) = pending;
            state.pending = PendingMeans::new(loss_sum, steps, pending_parts);
            state.scaler = loss_scaler;
        }
        state
    }

    fn seconds(&self) -> f64 {
        self.earlier_seconds + self.start.elapsed().as_secs_f64()
    }
}

impl<'a, 't> Training<'a, 't> {
    /// Validates the arguments and loads the newest checkpoint, if any.
    pub(crate) fn start(
        stage: &'a Stage,
        config: &'a TrainConfig,
        parameters: &'a [(String, Tensor)],
        tasks: &'a mut Tasks<'t>,
    ) -> Result<Self> {
        config.validate()?;
        check_slots(&stage.name, &mut tasks.slots)?;
        check_batch_sizes(config, &mut tasks.slots)?;
        let rank_count = stage.group.as_ref().map_or(1, |group| group.size());
        check_micro_batches(config, rank_count, &tasks.slots)?;
        check_evaluation(config, &tasks.slots)?;
        check_precision(stage, parameters)?;
        atomic_file::fs::create_dir_all(&stage.folder)?;
        let mut optimizer = AdamW::new(parameters, config)?.with_process_group(stage.group.clone());
        let fingerprint = stage_fingerprint(config, stage.precision, tasks)?;
        let Tasks { slots, updates } = tasks;
        let per_round = slots.iter().map(|slot| u64::from(slot.batches_per_round)).collect();
        let round_robin = RoundRobin::new(per_round, *updates);
        let slot_count = slots.len();
        let mut tasks: Vec<TaskState<'a, 't>> =
            slots.iter_mut().map(|slot| TaskState::new(stage, config, slot, slot_count)).collect();
        let total = total_steps(config, &round_robin, &tasks)?;
        for (number, task) in tasks.iter_mut().enumerate() {
            task.total = round_robin.batches_before(number, total);
        }
        let schedule = LearningRateSchedule::new(total, config.warmup_ratio, config.decay)?;
        let checkpoint = load_initial_state(
            stage,
            config,
            parameters,
            &mut optimizer,
            &mut tasks,
            &fingerprint,
        )?;
        let state = LoopState::new(checkpoint, stage.scaler);
        let last_logged = (state.tokens, state.earlier_seconds);
        let step_log = StepLog::open(stage, state.step, last_logged)?;
        let progress = match stage.is_rank_0() {
            true => ProgressLine::new(&stage.name, total, state.step, state.tokens),
            false => ProgressLine::silent(),
        };
        Ok(Self {
            stage,
            config,
            parameters,
            tasks,
            round_robin,
            optimizer,
            schedule,
            fingerprint,
            total,
            state,
            step_log,
            progress,
            writer: CheckpointWriter::default(),
            agreed_signal: None,
        })
    }

    pub(crate) fn run(mut self) -> Result<FitReport> {
        let signals = StopSignals::catch(self.stage.stops_on_signals)?;
        let end = self.stage.last_step(self.state.step, self.total);
        let mut profile = StepProfile::new(self.stage, self.device(), self.state.step, end);
        while self.state.step < end && !self.should_stop_early() {
            profile.before_step(self.state.step)?;
            let result = self.run_step(signals.received())?;
            self.end_step()?;
            self.log(&result)?;
            if let Some(signal) = self.stop_signal(&signals) {
                return self.stop(signal);
            }
            self.checkpoint()?;
            if let Some(text) = profile.after_step(self.state.step) {
                self.progress.print_above(&text);
            }
        }
        self.writer.wait()?;
        if let Some(signal) = self.stop_signal(&signals) {
            return self.stop(signal);
        }
        self.optimizer.clear_grads()?;
        self.progress.finish();
        let state = &self.state;
        let mut final_loss = state.final_loss;
        if final_loss.is_nan() {
            // Ranks other than 0 have no file of metrics.
            final_loss = last_loss(self.step_log.metrics_path()).unwrap_or(f64::NAN);
        }
        Ok(FitReport {
            steps: state.step,
            tokens: state.tokens,
            seconds: state.seconds(),
            final_loss,
            finished: state.step == self.total || self.should_stop_early(),
        })
    }

    /// Returns the signal that stops training after this step. Several ranks stop at the same step,
    /// so their signal is the one exchanged in this step.
    fn stop_signal(&self, signals: &StopSignals) -> Option<i32> {
        match self.stage.group {
            None => signals.received(),
            Some(_) => self.agreed_signal,
        }
    }

    /// Writes a checkpoint of this step and returns the error for a received signal.
    fn stop(mut self, signal: i32) -> Result<FitReport> {
        if let Some(data) = self.checkpoint_data()? {
            self.writer.write(data)?;
        }
        self.progress.abandon();
        let (step, total) = (self.state.step, self.total);
        Err(Error::Stopped { stage: self.stage.name.clone(), step, total, signal })
    }

    fn is_last_step(&self) -> bool {
        self.state.step == self.total || self.should_stop_early()
    }

    /// Runs one step. If scaled losses or gradients overflow float16, the loss scale is halved and
    /// no parameter changes.
    fn run_step(&mut self, signal: Option<i32>) -> Result<StepResult> {
        let step = self.state.step;
        self.optimizer.clear_grads()?;
        let compute = ComputeOptions {
            precision: self.stage.precision,
            device: self.device(),
            scale: self.state.scaler.map_or(1.0, |scaler| scaler.scale()),
        };
        let mut batches = Vec::new();
        for (slot, number) in self.round_robin.batches(step) {
            let batch = self.tasks[slot].backward(step, slot, number, compute)?;
            self.state.tokens += batch.tokens;
            batches.push(batch);
        }
        let signal = self.optimizer.sum_gradients(signal.unwrap_or(0))?;
        self.agreed_signal = (signal > 0).then_some(signal);
        let values = {
            let _region = region(c"read losses and norm");
            StepValues::read(batches, self.optimizer.grad_norm()?, compute.scale)?
        };
        let (factor, grad_norm) = (self.schedule.factor(step), values.grad_norm);
        let non_finite = values.first_non_finite();
        let skipped = non_finite.is_some();
        match (non_finite, &mut self.state.scaler) {
            (None, scaler) => {
                if values.has_gradient {
                    let _region = region(c"update");
                    self.optimizer.update(factor, grad_norm, compute.scale)?;
                }
                if let Some(scaler) = scaler {
                    scaler.record_finite_step();
                }
            }
            (Some(non_finite), scaler) => {
                if !scaler.as_mut().is_some_and(LossScaler::record_overflow) {
                    return Err(self.not_finite_error(&values, non_finite)?);
                }
            }
        }
        if values.has_finite_losses() {
            for batch in values.batches {
                self.state.pending.add_batch(batch.loss, batch.parts);
            }
            self.state.pending.end_step();
        }
        self.state.step += 1;
        self.progress.update(ProgressValues {
            step: self.state.step,
            loss: self.state.pending.loss(),
            learning_rate: self.config.learning_rate * factor,
            tokens: self.state.tokens,
        });
        Ok(StepResult { factor, grad_norm, skipped })
    }

    fn device(&self) -> Device {
        self.parameters.first().map_or(Device::Cpu, |(_, parameter)| parameter.device())
    }

    /// Writes `not-finite.json` to the stage's folder and returns the error.
    fn not_finite_error(&self, values: &StepValues, found: NonFinite) -> Result<Error> {
        let records = values.batches.iter().enumerate().map(|(index, batch)| {
            let slot = batch.origin.slot;
            let is_last =
                values.batches.iter().skip(index + 1).all(|later| later.origin.slot != slot);
            self.tasks[slot].record(&batch.origin, is_last)
        });
        let report = NotFiniteReport {
            stage: self.stage.name.clone(),
            step: self.state.step,
            what: found.what,
            value: found.value.to_string(),
            losses: values.loss_texts(),
            parameters: self.optimizer.non_finite_gradients()?,
            batches: records.collect(),
        };
        Ok(report.into_error(&self.stage.folder, found.value))
    }

    /// Returns whether every task that evaluates its model has completed at least `patience`
    /// evaluations since its best score.
    fn should_stop_early(&self) -> bool {
        let Some(patience) = self.config.patience else { return false };
        let mut counts = self.tasks.iter().filter_map(TaskState::evaluations_since_best).peekable();
        counts.peek().is_some() && counts.all(|count| count >= patience)
    }

    /// Notifies tasks of completed epochs and due evaluations, before the checkpoint, so that the
    /// checkpoint contains the resulting task state.
    fn end_step(&mut self) -> Result<()> {
        let _region = region(c"end of step");
        let (step, stage_ends) = (self.state.step, self.state.step == self.total);
        let evaluation_due =
            self.config.evaluation_steps.is_some_and(|interval| step.is_multiple_of(interval));
        for (number, task) in self.tasks.iter_mut().enumerate() {
            let batches = self.round_robin.batches_before(number, step);
            task.end_step(step - 1, batches, stage_ends, evaluation_due)?;
        }
        Ok(())
    }

    /// Writes a line of metrics if one is due.
    fn log(&mut self, result: &StepResult) -> Result<()> {
        let _region = region(c"log");
        let step = self.state.step;
        if !step.is_multiple_of(self.config.log_steps) && !self.is_last_step() {
            return Ok(());
        }
        let batches = self.round_robin.batches_before(0, step);
        let pending = std::mem::take(&mut self.state.pending);
        self.state.final_loss = pending.loss();
        let metrics = StepMetrics {
            step,
            epoch: self.tasks[0].epochs(batches),
            loss: pending.loss(),
            parts: pending.means(),
            learning_rate: self.config.learning_rate * result.factor,
            grad_norm: result.grad_norm,
            tokens: self.state.tokens,
            loss_scale: self.state.scaler.map(|scaler| scaler.scale()),
            skipped: result.skipped,
        };
        self.step_log.write(&metrics, self.state.seconds())
    }

    /// Writes a checkpoint if one is due. The last checkpoint and large checkpoints on the CPU are
    /// written synchronously, all others in the background.
    fn checkpoint(&mut self) -> Result<()> {
        let _region = region(c"checkpoint");
        self.writer.check()?;
        let (step, is_last_step) = (self.state.step, self.is_last_step());
        if !is_last_step
            && !self.config.checkpoint_steps.is_some_and(|interval| step.is_multiple_of(interval))
        {
            return Ok(());
        }
        match self.checkpoint_data()? {
            Some(data) if is_last_step || data.is_large() => self.writer.write(data),
            Some(data) => self.writer.start(data),
            None => Ok(()),
        }
    }

    /// Returns the state after this step on rank 0, and `None` on other ranks; all ranks must call
    /// this method. The tensors are not copies, so the next step changes them.
    fn checkpoint_data(&self) -> Result<Option<CheckpointData>> {
        let step = self.state.step;
        if let Some(parameter) = self.optimizer.non_finite_parameter()? {
            let (stage, parameter) = (self.stage.name.clone(), parameter.to_owned());
            return Err(Error::Diverged { stage, step: step.saturating_sub(1), parameter });
        }
        let moments = self.optimizer.state()?;
        if !self.stage.is_rank_0() {
            return Ok(None);
        }
        let streams: Vec<_> = self.tasks.iter().map(TaskState::stream_position).collect();
        let checkpoint = Checkpoint {
            step,
            tokens: self.state.tokens,
            seconds: self.state.seconds(),
            fingerprint: self.fingerprint.clone(),
            environment: self.stage.environment.clone(),
            pending: self.state.pending.loss_sum(),
            pending_parts: self.state.pending.parts().clone(),
            loss_scaler: self.state.scaler,
            streams: if streams.iter().any(Option::is_some) { streams } else { Vec::new() },
        };
        let mut task_state = Vec::new();
        for task in &self.tasks {
            task_state.extend(task.state(step)?);
        }
        let shallow = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.shallow_clone());
        Ok(Some(CheckpointData {
            checkpoint,
            parameters: self.parameters.iter().map(shallow).collect(),
            moments: moments.into_iter().collect(),
            task_state,
            root: self.stage.checkpoints(),
            keep: self.config.keep_checkpoints,
            models: self.config.keep_models.then(|| self.stage.models()),
        }))
    }
}

/// Rejects float16 on a device without float16 kernels.
fn check_precision(stage: &Stage, parameters: &[(String, Tensor)]) -> Result<()> {
    let device = parameters.first().map_or(Device::Cpu, |(_, parameter)| parameter.device());
    if stage.precision != Precision::F16 || matches!(device, Device::Cuda(_)) {
        return Ok(());
    }
    Err(Error::Config {
        key: "precision".into(),
        value: Precision::F16.name().into(),
        rule: format!("needs a CUDA device, and the model is on {device:?}; use bf16"),
    })
}

/// Returns the number of steps of the stage: the configured steps, or the steps of the first task's
/// epochs.
fn total_steps(
    config: &TrainConfig,
    round_robin: &RoundRobin,
    tasks: &[TaskState<'_, '_>],
) -> Result<u64> {
    let per_epoch = tasks[0].per_epoch();
    match (config.steps, per_epoch) {
        (Some(steps), _) => Ok(steps),
        (None, Some(per_epoch)) => Ok(round_robin.steps_for(per_epoch * config.epochs)),
        (None, None) => Err(Error::Config {
            key: "steps".into(),
            value: "none".into(),
            rule: "must be set, because the length of the example stream is unknown".into(),
        }),
    }
}

/// Loads the newest checkpoint into parameters, moments and tasks on every rank.
fn load_initial_state(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    optimizer: &mut AdamW,
    tasks: &mut [TaskState<'_, '_>],
    fingerprint: &str,
) -> Result<Option<Checkpoint>> {
    let Some(group) = &stage.group else {
        return resume(stage, config, parameters, optimizer, tasks, fingerprint);
    };
    let rank_error = |message: &str| {
        let rank = group.rank();
        let text = format!("{}: rank {rank}: {message}", stage.name);
        Error::from(torch_ext::Error::Distributed(text))
    };
    if let Some(difference) = first_difference(group, config, fingerprint)? {
        return Err(rank_error(&difference));
    }
    let (mut checkpoint, mut moments, mut task_state) = (None, TensorMap::new(), TensorMap::new());
    if stage.is_rank_0() {
        checkpoint = resume(stage, config, parameters, optimizer, tasks, fingerprint)?;
        if let Some(checkpoint) = &checkpoint {
            moments = optimizer.state()?;
            for task in tasks.iter() {
                task_state.extend(task.state(checkpoint.step)?);
            }
        }
    }
    let (checkpoint, moments, task_state) =
        broadcast_initial_state(group, parameters, checkpoint, moments, task_state)?;
    if let Some(checkpoint) = checkpoint.as_ref().filter(|_| !stage.is_rank_0()) {
        optimizer.load_state(&moments).map_err(|error| rank_error(&error))?;
        for (number, task) in tasks.iter_mut().enumerate() {
            let stream = checkpoint.streams.get(number).and_then(Option::as_ref);
            task.restore(&task_state, stream)
                .map_err(|error| rank_error(&error_text(error.as_ref())))?;
        }
    }
    Ok(checkpoint)
}

/// Loads the newest checkpoint into parameters, moments and tasks.
fn resume(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    optimizer: &mut AdamW,
    tasks: &mut [TaskState<'_, '_>],
    fingerprint: &str,
) -> Result<Option<Checkpoint>> {
    let folder = stage.checkpoints();
    let Some((checkpoint, tensors)) =
        Checkpoint::resume(&folder, parameters, optimizer, fingerprint)?
    else {
        return Ok(None);
    };
    for (number, task) in tasks.iter_mut().enumerate() {
        let stream = checkpoint.streams.get(number).and_then(Option::as_ref);
        task.restore(&tensors, stream)
            .map_err(|error| checkpoint.damaged_error(&folder, &error_text(error.as_ref())))?;
    }
    remove_older(&folder, config.keep_checkpoints)?;
    if checkpoint.environment != stage.environment {
        print_note(&format!(
            "{}: resumed in {:?}, started in {:?}; results may differ in the last digits",
            stage.name, stage.environment, checkpoint.environment
        ));
    }
    Ok(Some(checkpoint))
}
