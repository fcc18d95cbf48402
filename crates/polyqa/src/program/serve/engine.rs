//! Evaluates the model on the windows of all requests in turn.
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use atomic_file::cli;
use mlqa_eval::Window;
use tch::Device;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::reading::Reading;
use crate::{Answers, Reader, Result};

/// A request whose windows are evaluated.
pub struct Job {
    pub reading: Reading,
    /// Maximum number of answers per question.
    pub answers: usize,
    /// Closed when the request is abandoned.
    pub reply: oneshot::Sender<Result<Vec<Answers>>>,
    /// Semaphore permits for the request and its windows, released after the request is answered.
    pub permits: [OwnedSemaphorePermit; 2],
}

/// Reads windows and sends answers until the channel is closed.
///
/// A batch takes the next window of each request in turn and starts with a different request each
/// time, so that every request makes progress regardless of the lengths of other requests.
/// Abandoned requests are dropped.
pub fn run(reader: &Reader, jobs: &Receiver<Job>, gather: Duration) {
    let batch_size = reader.batch_size;
    let similar_lengths = reader.pretrained.model.device() == Device::Cpu;
    let mut active: Vec<Job> = Vec::new();
    loop {
        if active.is_empty() {
            match jobs.recv() {
                Ok(job) => active.push(job),
                Err(_) => return,
            }
            let deadline = Instant::now() + gather;
            while active.iter().map(|job| job.reading.windows()).sum::<usize>() < batch_size {
                match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(job) => active.push(job),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
        }
        active.extend(jobs.try_iter());
        active.retain(|job| !job.reply.is_closed());
        let counts = window_counts(&active, batch_size, similar_lengths);
        if evaluate(reader, &mut active, &counts).is_err() {
            // A request failed. Each request is now evaluated separately, so that the other
            // requests succeed.
            for (at, &count) in counts.iter().enumerate() {
                let Some(job) = active.get_mut(at) else { continue };
                if let Err(error) = evaluate(reader, std::slice::from_mut(job), &[count]) {
                    // The loop drops this job, because its new sender has no receiver.
                    let (closed, _) = oneshot::channel();
                    let _ = std::mem::replace(&mut job.reply, closed).send(Err(error));
                }
            }
        }
        let (done, remaining): (Vec<Job>, Vec<Job>) =
            active.into_iter().partition(|job| job.reading.unread().is_empty());
        active = remaining;
        let has_others = active.len() > 1;
        active.rotate_left(usize::from(has_others));
        for Job { reading, answers, reply, permits } in done {
            let answered = reading.finish(reader, answers);
            // The permits are released before the client receives the answer and sends its next
            // request.
            drop(permits);
            let _ = reply.send(answered);
        }
    }
}

/// Computes the number of windows of each request in the next batch. The first request has at least
/// one window. On the CPU, where padding costs time, only windows of similar length are added.
fn window_counts(active: &[Job], batch_size: usize, similar_lengths: bool) -> Vec<usize> {
    let unread: Vec<&[Window]> = active.iter().map(|job| job.reading.unread()).collect();
    let first = unread.first().and_then(|windows| windows.first());
    let first = first.map_or(0, |window| window.input_ids.len());
    let fits_batch = |window: &Window| {
        let length = window.input_ids.len();
        !similar_lengths || (5 * length >= 4 * first && 5 * first >= 4 * length)
    };
    let mut counts = vec![0; unread.len()];
    let mut remaining = batch_size;
    while remaining > 0 {
        let before = remaining;
        for (count, windows) in counts.iter_mut().zip(&unread) {
            if remaining > 0 && windows.get(*count).is_some_and(fits_batch) {
                *count += 1;
                remaining -= 1;
            }
        }
        if remaining == before {
            break;
        }
    }
    counts
}

/// Evaluates the next windows of each request as one batch.
fn evaluate(reader: &Reader, jobs: &mut [Job], counts: &[usize]) -> Result<()> {
    let windows: Vec<&Window> = jobs
        .iter()
        .zip(counts)
        .flat_map(|(job, &count)| job.reading.unread().iter().take(count))
        .collect();
    if windows.is_empty() {
        return Ok(());
    }
    let evaluated = reader.predictor().window_logits(&windows);
    let mut logits =
        evaluated.inspect_err(|error| cli::print_stderr(&format!("error: {error}")))?.into_iter();
    for (job, &count) in jobs.iter_mut().zip(counts) {
        job.reading.add_logits(logits.by_ref().take(count));
    }
    Ok(())
}
