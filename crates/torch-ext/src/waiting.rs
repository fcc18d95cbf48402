//! Messages of a process that waits for other processes for a long time.
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Time until the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Time between later messages: other ranks also wait while the first rank evaluates.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(600);
/// Time until a message about a signal.
const SIGNAL_MESSAGE: Duration = Duration::from_secs(1);

static STOP: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Registers a flag that contains the number of the signal that stops this process, or 0. While the
/// process waits for others, it prints that it will stop after the step. Only the first call has an
/// effect.
pub fn set_stop_flag(flag: Arc<AtomicUsize>) {
    let _ = STOP.set(flag);
}

/// Prints a line on standard error; a closed standard error is ignored.
fn print_note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", atomic_file::one_line(text));
}

/// Monitors in a separate thread how long this process waits.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
    /// Starts the thread; messages begin with `rank`. If it cannot be started, there are no
    /// messages.
    pub(crate) fn start(rank: String) -> Self {
        let since = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&since);
        let watch = move || watch(&watched, &rank);
        let _ = std::thread::Builder::new().name("waiting".into()).spawn(watch);
        Self(since)
    }

    /// Runs `body`, which waits for other processes.
    pub(crate) fn waiting<T>(&self, body: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let value = body();
        self.set(None);
        value
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

fn watch(since: &Weak<Mutex<Option<Instant>>>, rank: &str) {
    let (mut said, mut told_of_stop) = (None::<Instant>, false);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(since) = since.upgrade() else { return };
        let Some(since) = *since.lock().unwrap_or_else(PoisonError::into_inner) else { continue };
        let waited = since.elapsed();
        let stop = STOP.get().is_some_and(|flag| flag.load(Ordering::SeqCst) != 0);
        if stop && !told_of_stop && waited >= SIGNAL_MESSAGE {
            told_of_stop = true;
            print_note(&format!(
                "{rank} waits for the other ranks and stops after the step; a second signal stops \
                 it immediately"
            ));
        }
        if waited >= FIRST_MESSAGE && said.is_none_or(|said| said.elapsed() >= MESSAGE_INTERVAL) {
            said = Some(Instant::now());
            let seconds = waited.as_secs();
            print_note(&format!(
                "{rank} has waited {seconds} s for the other ranks, which may be busy (for example \
                 evaluating on rank 0) or have stopped"
            ));
        }
    }
}
