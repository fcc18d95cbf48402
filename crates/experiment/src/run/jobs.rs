//! Several trials at the same time, in separate processes.
//!
//! The main process locks the run folder, starts the program again for each trial with the hidden
//! option `--trial`, prints the lines of these processes, and reads their results. The trials use the
//! recipe in the run folder, so changes of the original files have no effect on a run.
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trainer::StopSignals;

use crate::{Error, Result, log};

/// The trials that this process computes, and the processes beside it.
#[derive(Debug, Default)]
pub(crate) enum Jobs {
    /// All, one after the other.
    #[default]
    Single,
    /// None: up to `count` processes at the same time compute them.
    Several { count: usize },
    /// The trial with this folder, in one of `count` processes.
    Trial { folder: String, count: usize },
}

impl Jobs {
    /// The number of processes that share the machine, apart from a waiting one.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Single | Self::Several { .. } => 1,
            Self::Trial { count, .. } => *count,
        }
    }
}

/// A trial for another process.
pub(crate) struct Job {
    /// Seed, arm and variant, for messages.
    pub(crate) label: String,
    /// The trial's folder, relative to the run folder.
    pub(crate) folder: String,
}

impl Job {
    fn stopped(&self, signal: i32) -> Error {
        let reason = format!("{}: stopped; run the same command to continue", self.label);
        Error::Stopped { reason, signal }
    }
}

/// Time between two looks at the processes.
const POLL: Duration = Duration::from_millis(50);

/// Computes `jobs`, up to `count` at the same time, in the run folder `folder`. The processes share
/// `lock`, the file of the folder's lock, so the folder stays locked until the last one has ended.
///
/// # Errors
/// The first error of a process, or [`Error::Stopped`] after SIGINT or SIGTERM. The other processes
/// are then stopped, which saves the steps of a training stage.
pub(crate) fn compute(
    jobs: &[Job],
    count: usize,
    folder: &Path,
    lock: Option<&File>,
) -> Result<()> {
    let count = count.min(jobs.len());
    let program = program()?;
    let signals = StopSignals::catch(true)?;
    let mut waiting = jobs.iter();
    let mut running: Vec<Process<'_>> = Vec::new();
    let mut finished = 0;
    let mut failure = None;
    loop {
        if let (Some(signal), None) = (signals.received(), &failure) {
            failure = Some(Error::Stopped { reason: stopped_text(jobs.len(), finished), signal });
        }
        while failure.is_none() && running.len() < count {
            let Some(job) = waiting.next() else { break };
            let mut command = Command::new(&program);
            command.args(["--trial", &job.folder, "--jobs", &count.to_string(), "--resume"]);
            match Process::start(job, command.arg(folder), lock) {
                Ok(process) => running.push(process),
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_some() {
            running.iter_mut().for_each(Process::stop);
        }
        let mut index = 0;
        while let Some(process) = running.get_mut(index) {
            let Some(status) = process.child.try_wait().map_err(|error| process.error(error))?
            else {
                index += 1;
                continue;
            };
            match running.swap_remove(index).end(status) {
                Ok(label) => {
                    finished += 1;
                    log(format!("{label}: finished ({finished} of {})", jobs.len()));
                }
                Err(error) => match &failure {
                    None => failure = Some(error),
                    // A process that stops because of the first failure says so itself.
                    Some(_) if matches!(error, Error::Stopped { .. }) => {}
                    // Trials may have the same error.
                    Some(first) if first.to_string() == error.to_string() => {}
                    Some(_) => eprint_line(&error.to_string()),
                },
            }
        }
        if running.is_empty() && (failure.is_some() || waiting.as_slice().is_empty()) {
            return failure.map_or(Ok(()), Err);
        }
        std::thread::sleep(POLL);
    }
}

fn stopped_text(total: usize, finished: usize) -> String {
    format!("stopped after {finished} of {total} trials; run the same command to continue")
}

/// The file of this program.
fn program() -> Result<PathBuf> {
    // This path exists even if another build has replaced the program since it was started.
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        return Ok(own.to_owned());
    }
    std::env::current_exe().map_err(|error| Error::setting("--jobs", error.to_string()))
}

/// Prepares this process, which computes a trial: the end of the main process stops it (on Linux),
/// and a repeated signal does not end it before it has saved its steps.
pub(crate) fn stop_with_parent() -> Result<()> {
    StopSignals::ignore_repeated();
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Error::setting("--trial", error.to_string()))?;
    Ok(())
}

/// A process that computes a trial.
struct Process<'a> {
    job: &'a Job,
    child: Child,
    /// Prints the lines of standard output.
    out: JoinHandle<()>,
    /// Prints the lines of standard error except the error, which it returns.
    err: JoinHandle<Option<String>>,
    is_stopped: bool,
}

impl<'a> Process<'a> {
    fn start(job: &'a Job, command: &mut Command, lock: Option<&File>) -> Result<Self> {
        let error = |source: std::io::Error| {
            Error::setting(format!("--jobs: {}", job.label), source.to_string())
        };
        let stdin = match lock {
            Some(file) => file.try_clone().map_err(error)?.into(),
            None => Stdio::null(),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Only the main process receives the signals of a terminal.
        command.process_group(0);
        let mut child = command.spawn().map_err(error)?;
        let out = child.stdout.take().expect("standard output is a pipe");
        let err = child.stderr.take().expect("standard error is a pipe");
        let out = std::thread::spawn(|| for_each_line(out, |line| log(line)));
        let err = std::thread::spawn(|| print_lines_before_error(err));
        Ok(Self { job, child, out, err, is_stopped: false })
    }

    /// Asks the process to save its training stage and to end.
    fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            // The process may have ended.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }

    /// Returns the trial's label, or the error of a process that failed.
    fn end(self, status: ExitStatus) -> Result<String> {
        self.out.join().expect("printing does not panic");
        let error = self.err.join().expect("printing does not panic");
        let label = &self.job.label;
        match (status.code(), error) {
            (Some(0), error) => {
                error.iter().for_each(|line| eprint_line(line));
                Ok(label.clone())
            }
            (Some(code @ (130 | 143)), _) => Err(self.job.stopped(code - 128)),
            // Before and after training, a signal ends the process at once.
            _ if self.is_stopped && status.signal() == Some(Signal::TERM.as_raw()) => {
                Err(self.job.stopped(Signal::TERM.as_raw()))
            }
            (_, Some(error)) => Err(Error::Process(error)),
            (_, None) => {
                let advice = match status.signal() == Some(Signal::KILL.as_raw()) {
                    true => "; if memory is short, lower --jobs",
                    false => "",
                };
                Err(Error::Process(format!("{label}: its process ended: {status}{advice}")))
            }
        }
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Process(format!("{}: {source}", self.job.label))
    }
}

/// Prints the lines of standard error, except an error (`error: …`), which is returned without this
/// prefix.
fn print_lines_before_error(stream: impl Read) -> Option<String> {
    let mut error = None;
    for_each_line(stream, |line| match line.strip_prefix("error: ") {
        Some(text) => {
            if let Some(earlier) = error.replace(text.to_owned()) {
                eprint_line(&earlier);
            }
        }
        None => eprint_line(line),
    });
    error
}

/// Calls `visit` with each line until the stream ends or cannot be read.
fn for_each_line(stream: impl Read, mut visit: impl FnMut(&str)) {
    for line in BufReader::new(stream).split(b'\n').map_while(|line| line.ok()) {
        visit(&String::from_utf8_lossy(&line));
    }
}

fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", atomic_file::printable_lines(line));
}
