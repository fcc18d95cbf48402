//! The line a person watches: loss, rate and time left. On a terminal it is redrawn; elsewhere a
//! line comes every tenth of the steps.
use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Steps a second, or, below one step a second, seconds a step.
fn rate_text(steps_per_second: f64) -> String {
    if steps_per_second >= 1.0 {
        format!("{steps_per_second:.1} steps/s")
    } else if steps_per_second > 0.0 {
        format!("{:.1} s/step", 1.0 / steps_per_second)
    } else {
        // Nothing is known before the first step.
        "- s/step".into()
    }
}

/// Progress of one stage on standard error.
///
/// ```
/// use trainer::Progress;
///
/// let mut progress = Progress::new("fine-tune", 200, 0);
/// progress.update(1, 2.31);
/// progress.finish();
/// ```
pub struct Progress {
    bar: ProgressBar,
    plain: Option<Plain>,
}

struct Plain {
    name: String,
    total: u64,
    first: u64,
    shown: u64,
    start: Instant,
}

impl Progress {
    /// A line called `name` for `total` steps, of which `done` are behind us.
    pub fn new(name: &str, total: u64, done: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:14} {bar:24} {pos}/{len}  {msg}  {rate}  {eta} left",
        ) {
            let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = text.write_str(&rate_text(state.per_sec()));
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_prefix(name.to_owned());
        bar.set_position(done);
        bar.reset_eta();
        let plain = (!terminal).then(|| Plain {
            name: name.to_owned(),
            total,
            first: done,
            shown: done,
            start: Instant::now(),
        });
        Self { bar, plain }
    }

    /// Shows that `step` steps are done and the loss is `loss`.
    pub fn update(&mut self, step: u64, loss: f64) {
        self.bar.set_message(format!("loss {loss:.3}"));
        self.bar.set_position(step);
        let Some(plain) = &mut self.plain else { return };
        if step == plain.total || (step - plain.shown) * 10 >= plain.total {
            plain.shown = step;
            let rate = (step - plain.first) as f64 / plain.start.elapsed().as_secs_f64().max(1e-9);
            let left = (plain.total - step) as f64 / rate.max(1e-9);
            // Nobody may be listening any more; training goes on.
            let _ = writeln!(
                std::io::stderr(),
                "{}: step {step}/{}  loss {loss:.3}  {}  {left:.0} s left",
                plain.name,
                plain.total,
                rate_text(rate)
            );
        }
    }

    /// Leaves the line on screen as it is.
    pub(crate) fn abandon(&self) {
        self.bar.abandon();
    }

    /// Ends the line and leaves it on screen.
    pub fn finish(&self) {
        self.bar.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_is_told_in_seconds_a_step() {
        let texts = [12.34, 1.0, 0.7, 0.05, 0.0].map(rate_text);
        assert_eq!(texts, ["12.3 steps/s", "1.0 steps/s", "1.4 s/step", "20.0 s/step", "- s/step"]);
    }
}
