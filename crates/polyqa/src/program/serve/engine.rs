//! Evaluates the model on the windows of all requests, in batches that the requests share.
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mlqa_eval::Window;
use tch::Device;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::shared_batches::Reading;
use crate::{Answers, Reader, Result};

/// The start and end logits of a window.
pub type Logits = (Vec<f32>, Vec<f32>);

/// The model that the engine evaluates.
pub trait Model {
    /// Maximum number of windows in a batch.
    fn batch_size(&self) -> usize;

    /// Whether the windows of a batch should have similar lengths, because padding costs time.
    fn needs_similar_lengths(&self) -> bool;

    /// Computes the logits of each window.
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Logits>>;

    /// Returns the answers to the questions of a request whose windows all have logits.
    fn answers(&self, reading: Reading, max_answers: usize) -> Result<Vec<Answers>>;
}

impl Model for Reader {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn needs_similar_lengths(&self) -> bool {
        self.pretrained.model.device() == Device::Cpu
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Logits>> {
        Ok(self.predictor().window_logits(windows)?)
    }

    fn answers(&self, reading: Reading, max_answers: usize) -> Result<Vec<Answers>> {
        reading.finish(self, max_answers)
    }
}

/// A request whose windows are evaluated.
pub struct Job {
    pub reading: Reading,
    /// Maximum number of answers per question.
    pub max_answers: usize,
    /// Closed when the client disconnects or the request times out. Dropped without a reply if the
    /// evaluation panics.
    pub reply: oneshot::Sender<Result<Vec<Answers>>>,
    /// Semaphore permits for the request and its windows, released when the answers are computed.
    pub permits: [OwnedSemaphorePermit; 2],
}

/// Evaluates windows and sends answers until the channel is closed.
///
/// A batch is filled with one window of each request in turn, and every batch starts with a
/// different request. Long requests therefore do not block short requests. A request is dropped if
/// its client has disconnected, it has timed out, or its evaluation panics.
pub fn run(model: &impl Model, jobs: &Receiver<Job>, gather_time: Duration) {
    let (batch_size, similar_lengths) = (model.batch_size(), model.needs_similar_lengths());
    let mut active_jobs: Vec<Job> = Vec::new();
    loop {
        if active_jobs.is_empty() {
            match jobs.recv() {
                Ok(job) => active_jobs.push(job),
                Err(_) => return,
            }
            let deadline = Instant::now() + gather_time;
            while active_jobs.iter().map(|job| job.reading.n_windows()).sum::<usize>() < batch_size
            {
                match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(job) => active_jobs.push(job),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
        }
        active_jobs.extend(jobs.try_iter());
        active_jobs.retain(|job| !job.reply.is_closed());
        let counts = window_counts(&active_jobs, batch_size, similar_lengths);
        let result = log_panic(|| evaluate(model, &mut active_jobs, &counts));
        if !matches!(result, Some(Ok(()))) {
            // The batch failed. The requests are now evaluated separately, so that only the request
            // that caused the error fails.
            for (job, &count) in active_jobs.iter_mut().zip(&counts) {
                let result = log_panic(|| evaluate(model, std::slice::from_mut(job), &[count]));
                if !matches!(result, Some(Ok(()))) {
                    // The loop drops this job, because its new sender has no receiver.
                    let (closed, _) = oneshot::channel();
                    let reply = std::mem::replace(&mut job.reply, closed);
                    if let Some(Err(error)) = result {
                        let _ = reply.send(Err(error));
                    }
                }
            }
        }
        let (finished_jobs, other_jobs): (Vec<Job>, Vec<Job>) =
            active_jobs.into_iter().partition(|job| job.reading.pending_windows().is_empty());
        active_jobs = other_jobs;
        let has_others = active_jobs.len() > 1;
        active_jobs.rotate_left(usize::from(has_others));
        for Job { reading, max_answers, reply, permits } in finished_jobs {
            let result = log_panic(|| model.answers(reading, max_answers));
            // The permits are released before the client receives the answer and sends its next
            // request.
            drop(permits);
            if let Some(result) = result {
                let _ = reply.send(result);
            }
        }
    }
}

/// Returns the result of `work`. If `work` panics, logs the panic's message and returns `None`. The
/// caller must discard the values that `work` may have left half-changed.
pub fn log_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.inspect_err(|panic| log_message(&**panic)).ok()
}

fn log_message(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    cli::print_stderr(&format!("error: a request failed because of a fault in polyqa: {text}"));
}

/// Computes the number of windows of each request in the next batch. The first request has at least
/// one window in the batch. On the CPU, where padding costs time, a window is added only if its
/// length is similar to the length of the first request's first window.
fn window_counts(active_jobs: &[Job], batch_size: usize, similar_lengths: bool) -> Vec<usize> {
    let pending: Vec<&[Window]> =
        active_jobs.iter().map(|job| job.reading.pending_windows()).collect();
    let first_window = pending.first().and_then(|windows| windows.first());
    let first_length = first_window.map_or(0, |window| window.input_ids.len());
    let fits_batch = |window: &Window| {
        let length = window.input_ids.len();
        !similar_lengths || (5 * length >= 4 * first_length && 5 * first_length >= 4 * length)
    };
    let mut counts = vec![0; pending.len()];
    let mut free = batch_size;
    while free > 0 {
        let free_before = free;
        for (count, windows) in counts.iter_mut().zip(&pending) {
            if free > 0 && windows.get(*count).is_some_and(fits_batch) {
                *count += 1;
                free -= 1;
            }
        }
        if free == free_before {
            break;
        }
    }
    counts
}

/// Evaluates the next windows of each request as one batch. After an error or a panic, no request
/// has new logits.
fn evaluate(model: &impl Model, jobs: &mut [Job], counts: &[usize]) -> Result<()> {
    let windows: Vec<&Window> = jobs
        .iter()
        .zip(counts)
        .flat_map(|(job, &count)| job.reading.pending_windows().iter().take(count))
        .collect();
    if windows.is_empty() {
        return Ok(());
    }
    let result = model.logits(&windows);
    let logits = result.inspect_err(|error| cli::print_stderr(&format!("error: {error}")))?;
    assert_eq!(logits.len(), windows.len(), "each window has logits");
    let mut logits = logits.into_iter();
    for (job, &count) in jobs.iter_mut().zip(counts) {
        job.reading.add_logits(logits.by_ref().take(count));
    }
    Ok(())
}
