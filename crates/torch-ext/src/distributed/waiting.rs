//! Messages of a process that waits for other processes for a long time.
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Waiting time before the first message.
const FIRST_MESSAGE_DELAY: Duration = Duration::from_secs(10);
/// Time between two messages. The interval is long, because ranks also wait while rank 0 evaluates.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(600);
/// Minimum waiting time before a process that received a stop signal prints a message.
const SIGNAL_MESSAGE_DELAY: Duration = Duration::from_secs(1);

static STOP_FLAG: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Registers a flag that contains the number of a received stop signal, or 0.
///
/// If the flag is set while the process waits for other processes, the process prints that it will
/// stop after the step. Only the first call has an effect.
pub fn set_stop_flag(flag: Arc<AtomicUsize>) {
    let _ = STOP_FLAG.set(flag);
}

/// Prints a line on standard error; ignores errors, for example if standard error is closed.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", atomic_file::one_line(text));
}

/// Monitors the waiting time of this process in a separate thread. The value is the time at which
/// the process started to wait, or `None` while it does not wait.
#[derive(Debug)]
pub(crate) struct WaitMonitor(Arc<Mutex<Option<Instant>>>);

impl WaitMonitor {
    /// Starts the thread, whose messages begin with `rank`. If the thread cannot be started, there
    /// are no messages.
    pub(crate) fn start(rank: String) -> Self {
        let since = Arc::new(Mutex::new(None));
        let weak_since = Arc::downgrade(&since);
        let monitor = move || monitor_waiting(&weak_since, &rank);
        let _ = std::thread::Builder::new().name("waiting".into()).spawn(monitor);
        Self(since)
    }

    /// Runs `body`, which waits for other processes, and monitors how long it takes.
    pub(crate) fn run_waiting<T>(&self, body: impl FnOnce() -> T) -> T {
        self.set_start(Some(Instant::now()));
        let value = body();
        self.set_start(None);
        value
    }

    fn set_start(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

fn monitor_waiting(since: &Weak<Mutex<Option<Instant>>>, rank: &str) {
    let (mut last_message, mut stop_printed) = (None::<Instant>, false);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(since) = since.upgrade() else { return };
        let Some(since) = *since.lock().unwrap_or_else(PoisonError::into_inner) else { continue };
        let waiting_time = since.elapsed();
        let stop_requested = STOP_FLAG.get().is_some_and(|flag| flag.load(Ordering::SeqCst) != 0);
        if stop_requested && !stop_printed && waiting_time >= SIGNAL_MESSAGE_DELAY {
            stop_printed = true;
            print_line(&format!(
                "{rank} waits for the other ranks and stops after the step; a second signal stops \
                 it immediately"
            ));
        }
        if waiting_time >= FIRST_MESSAGE_DELAY
            && last_message.is_none_or(|last_message| last_message.elapsed() >= MESSAGE_INTERVAL)
        {
            last_message = Some(Instant::now());
            let seconds = waiting_time.as_secs();
            print_line(&format!(
                "{rank} has waited {seconds} s for the other ranks, which may be busy (for example \
                 evaluating on rank 0) or have stopped"
            ));
        }
    }
}
