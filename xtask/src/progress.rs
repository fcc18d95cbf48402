//! Progress of a download: a line that is redrawn on a terminal, or consecutive lines without a
//! terminal.
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Width of the bar in characters.
const WIDTH: u64 = 20;

/// Prints the progress of one file on stderr.
pub struct Progress {
    label: String,
    /// Size of the file in bytes.
    total: u64,
    /// Number of bytes that were downloaded before the start.
    initial: u64,
    started: Instant,
    is_terminal: bool,
    /// Without a terminal, the tenth of the file that the last printed line reports.
    last_tenth: Option<u64>,
}

impl Progress {
    /// Starts to measure the download of a file of `total` bytes, of which `initial` bytes are
    /// already downloaded.
    pub fn start(label: String, total: u64, initial: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { label, total, initial, started: Instant::now(), is_terminal, last_tenth: None }
    }

    /// Prints that `done` bytes are downloaded. Without a terminal, prints a line per ten percent.
    pub fn show(&mut self, done: u64) {
        let done = done.min(self.total);
        let line = format_line(&self.label, done, self.total, self.initial, self.started.elapsed());
        let mut stderr = std::io::stderr().lock();
        // A closed stderr must not stop the download.
        if self.is_terminal {
            // Automatic wrapping is disabled while the line is written, so that a narrow terminal
            // truncates the line and the next update overwrites it.
            let _ = write!(stderr, "\r\x1b[K\x1b[?7l{line}\x1b[?7h");
            let _ = stderr.flush();
        } else {
            let tenth = done.saturating_mul(10).checked_div(self.total).unwrap_or(10);
            if self.last_tenth != Some(tenth) {
                self.last_tenth = Some(tenth);
                let _ = writeln!(stderr, "{line}");
            }
        }
    }

    /// Ends the line that was redrawn on a terminal.
    pub fn finish(&self) {
        if self.is_terminal {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// Formats one line: label, bar, percentage, bytes, rate and remaining time.
fn format_line(label: &str, done: u64, total: u64, initial: u64, elapsed: Duration) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let filled = done.saturating_mul(WIDTH).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|i| if i < filled { '#' } else { '.' }).collect();
    let mut line =
        format!("{label} [{bar}] {percent:>3} % {} of {}", format_bytes(done), format_bytes(total));
    let seconds = elapsed.as_secs_f64();
    let new_bytes = done.saturating_sub(initial);
    if new_bytes > 0 && seconds > 0.0 {
        let rate = new_bytes as f64 / seconds;
        line += &format!(", {:.1} MB/s", rate / 1e6);
        if done < total {
            line += &format!(", ETA {}", format_duration((total - done) as f64 / rate));
        }
    }
    line
}

/// Formats a number of bytes with decimal units.
pub fn format_bytes(count: u64) -> String {
    let count = count as f64;
    if count >= 1e9 {
        format!("{:.2} GB", count / 1e9)
    } else if count >= 1e6 {
        format!("{:.0} MB", count / 1e6)
    } else {
        format!("{:.0} kB", (count / 1e3).ceil())
    }
}

/// Formats seconds as `12 s`, `3 min 05 s` or `2 h 10 min`.
pub fn format_duration(seconds: f64) -> String {
    // Durations are limited to a week, and NaN becomes 0.
    let seconds = seconds.clamp(0.0, 604_800.0).round() as u64;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}
