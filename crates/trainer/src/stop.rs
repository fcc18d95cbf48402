//! Handling of SIGINT and SIGTERM.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{Error, Result};

/// The signals that stop training.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Whether handlers ignore a second signal.
static IGNORE_REPEATED: AtomicBool = AtomicBool::new(false);

/// State that the signal handlers change. The handlers remain installed until the process ends.
#[derive(Debug)]
struct Handlers {
    /// While true, a signal ends the process.
    default_action: Arc<AtomicBool>,
    /// The last received signal, or 0.
    received: Arc<AtomicUsize>,
}

impl Handlers {
    fn register() -> std::io::Result<Self> {
        let default_action = Arc::new(AtomicBool::new(true));
        let received = Arc::new(AtomicUsize::new(0));
        for signal in SIGNALS {
            // Handlers run in the order of registration. The last handler of the first signal sets
            // `default_action`, and then the first handler of a second signal ends the process.
            flag::register_conditional_default(signal, Arc::clone(&default_action))?;
            let number = usize::try_from(signal).expect("numbers of signals are positive");
            flag::register_usize(signal, Arc::clone(&received), number)?;
            if !IGNORE_REPEATED.load(Ordering::SeqCst) {
                flag::register(signal, Arc::clone(&default_action))?;
            }
            torch_ext::handle_on_signal_stack(signal)?;
        }
        torch_ext::set_stop_flag(Arc::clone(&received));
        Ok(Self { default_action, received })
    }
}

/// While this value exists, the first SIGINT or SIGTERM is only recorded; a second signal ends the
/// process immediately. Training does this itself; see
/// [`Stage::stop_on_signals`](crate::Stage::stop_on_signals).
#[derive(Debug)]
pub struct StopSignals(Option<&'static Handlers>);

impl StopSignals {
    /// From now on, later signals are only recorded, too. For processes that another process stops,
    /// because both may get a signal that is meant for all processes of a job.
    pub fn ignore_repeated() {
        IGNORE_REPEATED.store(true, Ordering::SeqCst);
    }

    /// Catches the signals if `enabled`; otherwise [`Self::received`] always returns `None`.
    ///
    /// # Errors
    /// [`Error::Signals`] if the system does not allow it.
    pub fn catch(enabled: bool) -> Result<Self> {
        static HANDLERS: OnceLock<std::io::Result<Handlers>> = OnceLock::new();
        if !enabled {
            return Ok(Self(None));
        }
        match HANDLERS.get_or_init(Handlers::register) {
            Ok(handlers) => {
                handlers.received.store(0, Ordering::SeqCst);
                handlers.default_action.store(false, Ordering::SeqCst);
                Ok(Self(Some(handlers)))
            }
            Err(error) => Err(Error::Signals { reason: error.to_string() }),
        }
    }

    /// Returns the received signal, if any.
    pub fn received(&self) -> Option<i32> {
        let number = self.0?.received.load(Ordering::SeqCst);
        let signal = i32::try_from(number).expect("the number of a signal");
        (signal != 0).then_some(signal)
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        if let Some(handlers) = self.0 {
            handlers.default_action.store(true, Ordering::SeqCst);
        }
    }
}
