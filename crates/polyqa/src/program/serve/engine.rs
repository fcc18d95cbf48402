//! Evaluates the model on the windows of all requests in turn.
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use atomic_file::cli;
use mlqa_eval::Window;
use tch::Device;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::reading::Reading;
use crate::{Answers, Reader, Result};

/// Work for one request.
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
/// time, so that every request makes progress regardless of the others' lengths. Abandoned requests
/// are dropped.
pub fn run(reader: &Reader, jobs: &Receiver<Job>, gather: Duration) {
    let batch_size = reader.batch_size;
    let equal_lengths = reader.pretrained.model.device() == Device::Cpu;
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
        let shares = shares(&active, batch_size, equal_lengths);
        if read(reader, &mut active, &shares).is_err() {
            // One request fails. Each is evaluated separately, so that the other requests succeed.
            for (at, &share) in shares.iter().enumerate() {
                let Some(job) = active.get_mut(at) else { continue };
                if let Err(error) = read(reader, std::slice::from_mut(job), &[share]) {
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
            // The limits are released before the client receives the answer and sends its next
            // request.
            drop(permits);
            let _ = reply.send(answered);
        }
    }
}

/// Computes the number of windows of each request in the next batch. The first request has at least
/// one. On the CPU, where padding costs time, only windows of similar length are added.
fn shares(active: &[Job], batch_size: usize, equal_lengths: bool) -> Vec<usize> {
    let unread: Vec<&[Window]> = active.iter().map(|job| job.reading.unread()).collect();
    let first = unread.first().and_then(|windows| windows.first());
    let first = first.map_or(0, |window| window.input_ids.len());
    let fits_batch = |window: &Window| {
        let length = window.input_ids.len();
        !equal_lengths || (5 * length >= 4 * first && 5 * first >= 4 * length)
    };
    let mut shares = vec![0; unread.len()];
    let mut remaining = batch_size;
    while remaining > 0 {
        let before = remaining;
        for (share, windows) in shares.iter_mut().zip(&unread) {
            if remaining > 0 && windows.get(*share).is_some_and(fits_batch) {
                *share += 1;
                remaining -= 1;
            }
        }
        if remaining == before {
            break;
        }
    }
    shares
}

/// Evaluates the next windows of each request as one batch.
fn read(reader: &Reader, jobs: &mut [Job], shares: &[usize]) -> Result<()> {
    let windows: Vec<&Window> = jobs
        .iter()
        .zip(shares)
        .flat_map(|(job, &share)| job.reading.unread().iter().take(share))
        .collect();
    if windows.is_empty() {
        return Ok(());
    }
    let read = reader.predictor().window_logits(&windows);
    let mut logits =
        read.inspect_err(|error| cli::print_stderr(&format!("error: {error}")))?.into_iter();
    for (job, &share) in jobs.iter_mut().zip(shares) {
        job.reading.take(logits.by_ref().take(share));
    }
    Ok(())
}
