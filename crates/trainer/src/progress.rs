//! The line a person watches: loss, rate and time left. On a terminal it is redrawn; elsewhere a line comes every tenth.
use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress of one stage on standard error.
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
            "{prefix:14} {bar:24} {pos}/{len}  {msg}  {per_sec}  {eta} left",
        ) {
            bar.set_style(style);
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
                "{}: step {step}/{}  loss {loss:.3}  {rate:.1} steps/s  {left:.0} s left",
                plain.name,
                plain.total
            );
        }
    }

    /// Ends the line and leaves it on screen.
    pub fn finish(&self) {
        self.bar.finish();
    }
}
