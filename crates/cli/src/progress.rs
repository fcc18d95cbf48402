//! Progress bars and spinners. They are hidden if standard error is not a terminal.
use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Creates a progress bar for `length` steps. It is displayed at once, and its spinner turns during
/// long steps.
pub fn progress(length: usize, message: impl Into<Cow<'static, str>>) -> ProgressBar {
    // A `usize` fits into 64 bits.
    let bar = ProgressBar::new(length as u64).with_message(message);
    animated(with_template(bar, "{spinner} {msg} {wide_bar} {human_pos}/{human_len} {eta}"))
}

/// Creates a progress bar for the bytes of a file. Without `length`, only the number of bytes and
/// the rate are displayed.
pub fn byte_progress(length: Option<u64>) -> ProgressBar {
    let template = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
    match length {
        Some(length) => with_template(ProgressBar::new(length), template),
        None => {
            with_template(ProgressBar::new_spinner(), "{spinner} {bytes}, {binary_bytes_per_sec}")
        }
    }
}

/// Creates a spinner with a message.
pub fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    animated(ProgressBar::new_spinner().with_message(message))
}

/// Draws the bar ten times per second, unless it is hidden.
fn animated(bar: ProgressBar) -> ProgressBar {
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

fn with_template(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
