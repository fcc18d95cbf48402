//! Handling of SIGINT and SIGTERM during training.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{Error, Result};

/// The signals that ask a program to end.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// The state that the handlers change; they stay for the life of the process.
struct Handlers {
    /// While true, a signal does what it does to any program: it ends it.
    at_once: Arc<AtomicBool>,
    /// The signal that came; 0: none.
    received: Arc<AtomicUsize>,
}

impl Handlers {
    fn register() -> std::io::Result<Self> {
        let at_once = Arc::new(AtomicBool::new(true));
        let received = Arc::new(AtomicUsize::new(0));
        for signal in SIGNALS {
            // In this order: what the first signal sets makes the second one end the process.
            flag::register_conditional_default(signal, Arc::clone(&at_once))?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&received), number)?;
            flag::register(signal, Arc::clone(&at_once))?;
            torch_ext::handle_on_signal_stack(signal)?;
        }
        torch_ext::set_stop_flag(Arc::clone(&received));
        Ok(Self { at_once, received })
    }
}

/// While this value exists, the first SIGINT or SIGTERM is only recorded; a second one ends the
/// process immediately.
pub(crate) struct StopSignals(Option<&'static Handlers>);

impl StopSignals {
    /// Catches the signals if `wanted`; otherwise none ever comes.
    pub(crate) fn catch(wanted: bool) -> Result<Self> {
        static HANDLERS: OnceLock<std::io::Result<Handlers>> = OnceLock::new();
        if !wanted {
            return Ok(Self(None));
        }
        match HANDLERS.get_or_init(Handlers::register) {
            Ok(handlers) => {
                handlers.received.store(0, Ordering::SeqCst);
                handlers.at_once.store(false, Ordering::SeqCst);
                Ok(Self(Some(handlers)))
            }
            Err(error) => Err(Error::Signals { reason: error.to_string() }),
        }
    }

    /// The signal that came.
    pub(crate) fn received(&self) -> Option<i32> {
        let number = self.0?.received.load(Ordering::SeqCst);
        i32::try_from(number).ok().filter(|&signal| signal != 0)
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        if let Some(handlers) = self.0 {
            handlers.at_once.store(true, Ordering::SeqCst);
        }
    }
}

/// `SIGTERM` for 15.
pub(crate) fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), str::to_owned)
}
