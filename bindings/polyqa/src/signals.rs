//! Interruption of long computations.
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::arguments::py_error;

/// Interval between checks for signals. Each check waits for the interpreter's lock.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// Checks for signals, so that Ctrl-C can stop long computations.
pub struct SignalChecker {
    last_check: Instant,
}

impl SignalChecker {
    pub fn new() -> Self {
        Self { last_check: Instant::now() }
    }

    pub fn check(&mut self) -> Result<(), StopError> {
        if self.last_check.elapsed() < SIGNAL_INTERVAL {
            return Ok(());
        }
        self.last_check = Instant::now();
        Python::attach(|py| py.check_signals()).map_err(StopError)
    }
}

/// The exception that stops a computation.
pub struct StopError(pub PyErr);

impl From<polyqa::Error> for StopError {
    fn from(error: polyqa::Error) -> Self {
        Self(py_error(&error))
    }
}

impl From<collection::Error> for StopError {
    fn from(error: collection::Error) -> Self {
        Self(py_error(&error))
    }
}
