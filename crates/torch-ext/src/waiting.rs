//! What a process says that waits long for the others.
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a process waits before it says so.
pub(crate) const FIRST: Duration = Duration::from_secs(10);
/// How long it is silent after that: evaluations of the first rank let the others wait as well.
const LATER: Duration = Duration::from_secs(600);
/// How long it waits before it answers a signal.
const SIGNAL: Duration = Duration::from_secs(1);

static STOP: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Names the flag that holds the number of a signal which asked this process to stop, 0 where none
/// did: one that waits for others then says that it stops after them, and that a second signal
/// ends it. The first flag counts.
pub fn tell_of_stop(flag: Arc<AtomicUsize>) {
    let _ = STOP.set(flag);
}

/// Says it to the person who watches. Nobody may be listening.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", whole_file::one_line(text));
}

/// Watches, in a thread of its own, how long this process waits.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
    /// `who` waits, and `for_whom`. Without a thread there are no messages.
    pub(crate) fn start(who: String, for_whom: String) -> Self {
        let since = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&since);
        let watch = move || watch(&watched, &who, &for_whom);
        let _ = std::thread::Builder::new().name("waiting".into()).spawn(watch);
        Self(since)
    }

    /// What `body` returns, which waits for other processes.
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

fn watch(since: &Weak<Mutex<Option<Instant>>>, who: &str, for_whom: &str) {
    let (mut said, mut told_of_stop) = (None::<Instant>, false);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(since) = since.upgrade() else { return };
        let Some(since) = *since.lock().unwrap_or_else(PoisonError::into_inner) else { continue };
        let waited = since.elapsed();
        let stop = STOP.get().is_some_and(|flag| flag.load(Ordering::SeqCst) != 0);
        if stop && !told_of_stop && waited >= SIGNAL {
            told_of_stop = true;
            say(&format!(
                "{who} waits for {for_whom} and stops after the step that they make together; a \
                 second signal ends it at once"
            ));
        }
        if waited >= FIRST && said.is_none_or(|said| said.elapsed() >= LATER) {
            said = Some(Instant::now());
            let seconds = waited.as_secs();
            say(&format!(
                "{who} waits since {seconds} s for {for_whom}: busy, as the first one is in an \
                 evaluation, or standing still"
            ));
        }
    }
}
