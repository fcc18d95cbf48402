//! Several trials at the same time, each in a process of its own.
//!
//! The main process holds the lock of the run folder, starts the program again for each trial with
//! the hidden option `--trial`, prints the lines of these processes, and reads their results.
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trainer::StopSignals;

use crate::{Error, Result, log};

/// The trials that this process computes.
#[derive(Debug, Default)]
pub(crate) enum Jobs {
    /// All, one after the other.
    #[default]
    One,
    /// All, up to `count` at the same time in other processes, which get the `arguments` of this
    /// one (without the program's name).
    Processes { count: usize, arguments: Vec<OsString> },
    /// The trial with this folder, in one of up to `count` processes.
    Trial { folder: String, count: usize },
}

impl Jobs {
    /// The number of processes that share the machine.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Processes { count, .. } | Self::Trial { count, .. } => *count,
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

/// Time between two looks at the processes.
const POLL: Duration = Duration::from_millis(50);

/// Computes `jobs`, up to `count` at the same time.
///
/// # Errors
/// The first error of a process, or [`Error::Stopped`] after SIGINT or SIGTERM. The other processes
/// are then stopped, which saves the steps of a training stage.
pub(crate) fn compute(jobs: &[Job], count: usize, arguments: &[OsString]) -> Result<()> {
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
            match Process::start(job, arguments) {
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
                Err(error) if failure.is_none() => failure = Some(error),
                // A process that stops because of the first failure says so itself.
                Err(Error::Stopped { .. }) => {}
                Err(error) => eprint_line(&error.to_string()),
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

/// Lets the end of the main process stop this one, which computes a trial. Only Linux can do so.
pub(crate) fn stop_with_parent() -> Result<()> {
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
    fn start(job: &'a Job, arguments: &[OsString]) -> Result<Self> {
        let error = |error| Error::setting(format!("--jobs: {}", job.label), error);
        let program = std::env::current_exe().map_err(|source| error(source.to_string()))?;
        let mut command = Command::new(program);
        command.args(["--trial", &job.folder]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Only the main process receives the signals of a terminal, and passes them on once.
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| error(source.to_string()))?;
        let out = child.stdout.take().expect("standard output is a pipe");
        let err = child.stderr.take().expect("standard error is a pipe");
        let out = std::thread::spawn(|| for_each_line(out, |line| log(line)));
        let err = std::thread::spawn(|| print_lines_before_error(err));
        Ok(Self { job, child, out, err, is_stopped: false })
    }

    /// Asks the process to save its training stage and to end. A second signal would end it at
    /// once.
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
            (Some(0), _) => Ok(label.clone()),
            (Some(code @ (130 | 143)), _) => {
                let reason = format!("{label}: stopped; run the same command to continue");
                Err(Error::Stopped { reason, signal: code - 128 })
            }
            (_, Some(error)) => Err(Error::Process(error)),
            (_, None) => {
                let advice = match status.signal() {
                    Some(9) => " (SIGKILL; if memory is short, lower --jobs)",
                    _ => "",
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
        Some(text) => error = Some(text.to_owned()),
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
