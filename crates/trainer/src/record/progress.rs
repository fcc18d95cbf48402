//! Progress line with loss, rate and remaining time.
//!
//! On a terminal, the line is redrawn. Otherwise, a line is printed after every tenth of the steps.
use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Prints one line on standard error; a closed standard error is ignored.
pub(crate) fn print_note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", atomic_file::one_line(text));
}

/// Formats a rate as steps per second or, for slow steps, seconds per step.
fn rate_text(steps_per_second: f64) -> String {
    if steps_per_second >= 1.0 {
        format!("{steps_per_second:.1} steps/s")
    } else if steps_per_second > 0.0 {
        format!("{:.1} s/step", 1.0 / steps_per_second)
    } else {
        // There is no rate before the first step.
        "- s/step".into()
    }
}

/// Formats a time in the largest unit with a value of at least 2.
fn time_text(seconds: f64) -> String {
    let units = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min")];
    match units.iter().find(|(unit, _)| seconds >= 2.0 * unit) {
        Some((unit, name)) => format!("{:.1} {name}", seconds / unit),
        None => format!("{seconds:.0} s"),
    }
}

/// Values of a stage for [`ProgressLine::update`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgressValues {
    /// Number of completed steps.
    pub step: u64,
    /// The loss to print.
    pub loss: f64,
    /// The schedule's factor times the peak rate.
    pub learning_rate: f64,
    /// Number of tokens processed so far, without padding.
    pub tokens: u64,
}

/// Progress display of a stage on standard error.
///
/// ```
/// use trainer::{ProgressLine, ProgressValues};
///
/// let mut progress = ProgressLine::new("fine-tune", 200, 0, 0);
/// progress.update(ProgressValues { step: 1, loss: 2.31, learning_rate: 3e-5, tokens: 512 });
/// progress.finish();
/// ```
pub struct ProgressLine {
    bar: ProgressBar,
    /// Name printed in each line if standard error is not a terminal.
    plain_name: Option<String>,
    total: u64,
    /// Steps and tokens of earlier parts of a resumed run.
    initial: (u64, u64),
    last_printed_step: u64,
    start: Instant,
}

impl ProgressLine {
    /// Creates a progress line named `name` for `total` steps, of which `completed` steps with
    /// `tokens` tokens are already done.
    pub fn new(name: &str, total: u64, completed: u64, tokens: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let draw_target =
            if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), draw_target);
        // At most 80 columns: a longer line would be wrapped, and each redraw would leave a part of it.
        let template = "{prefix}  {pos}/{len}  {msg}  {rate}  {eta} left";
        let style = ProgressStyle::with_template(template).expect("a valid template");
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = text.write_str(&rate_text(state.per_sec()));
        };
        bar.set_style(style.with_key("rate", rate));
        let name = &*atomic_file::one_line(name);
        bar.set_prefix(name.to_owned());
        bar.set_position(completed);
        bar.reset_eta();
        let plain_name = (!is_terminal).then(|| name.to_owned());
        let (initial, start) = ((completed, tokens), Instant::now());
        Self { bar, plain_name, total, initial, last_printed_step: completed, start }
    }

    pub(crate) fn silent() -> Self {
        let (bar, start) = (ProgressBar::hidden(), Instant::now());
        Self { bar, plain_name: None, total: 0, initial: (0, 0), last_printed_step: 0, start }
    }

    /// Updates the line.
    pub fn update(&mut self, values: ProgressValues) {
        let ProgressValues { step, loss, learning_rate, tokens } = values;
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        let speed = tokens.saturating_sub(self.initial.1) as f64 / seconds;
        let text = format!("loss {loss:.3}  lr {learning_rate:.1e}");
        let Some(name) = &self.plain_name else {
            self.bar.set_message(text);
            self.bar.set_position(step);
            return;
        };
        let total = self.total;
        if step == total || step.saturating_sub(self.last_printed_step).saturating_mul(10) >= total
        {
            self.last_printed_step = step;
            let rate = step.saturating_sub(self.initial.0) as f64 / seconds;
            let remaining = time_text(total.saturating_sub(step) as f64 / rate.max(1e-9));
            let rate = rate_text(rate);
            let text = format!("{text}  {speed:.0} tokens/s");
            print_note(&format!("{name}: step {step}/{total}  {text}  {rate}  {remaining} left"));
        }
    }

    /// Prints text above the progress line.
    pub(crate) fn print_above(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{}", atomic_file::printable_lines(text));
        });
    }

    /// Stops the progress line without clearing it.
    pub(crate) fn abandon(&self) {
        self.remove_rate();
        self.bar.abandon();
    }

    /// Finishes the line and leaves it on screen.
    pub fn finish(&self) {
        self.remove_rate();
        self.bar.finish();
    }

    /// Removes rate and remaining time from the line. For a line that is finished, indicatif computes
    /// the rate from all steps, also from those of earlier parts of a resumed run.
    fn remove_rate(&self) {
        let style = ProgressStyle::with_template("{prefix}  {pos}/{len}  {msg}");
        self.bar.set_style(style.expect("a valid template"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_is_printed_in_its_largest_unit() {
        let texts = [0.4, 119.0, 120.0, 7200.0, 90_000.0, 1.9e6].map(time_text);
        assert_eq!(texts, ["0 s", "119 s", "2.0 min", "2.0 h", "25.0 h", "22.0 d"]);
    }

    #[test]
    fn slow_rates_are_printed_in_seconds_per_step() {
        let texts = [12.34, 1.0, 0.7, 0.05, 0.0].map(rate_text);
        assert_eq!(texts, ["12.3 steps/s", "1.0 steps/s", "1.4 s/step", "20.0 s/step", "- s/step"]);
    }
}
