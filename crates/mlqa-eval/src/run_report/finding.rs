//! What the runs showed, in a sentence.
use super::Report;
use super::collect::{Collected, PairScores};
use super::evidence::{Difference, RunMean};
use super::text::thousands;
use crate::Interval;

/// A title that says what was asked, for a page that was given none.
pub(super) fn title(all: &Collected) -> String {
    match all.pairs.as_slice() {
        [PairScores { pair, .. }] => {
            let (context, question) = (pair.context.0.name(), pair.question.0.name());
            format!("Answers to {question} questions about {context} texts")
        }
        _ => "Cross-lingual question answering".into(),
    }
}

fn interval(level: f64, Interval { low, high, .. }: Interval, signed: bool) -> String {
    let shown = |value: f64| match signed {
        true => format!("{value:+.2}").replace('-', "−"),
        false => format!("{value:.2}"),
    };
    format!("{:.0} % interval {} to {}", 100.0 * level, shown(low), shown(high))
}

fn f1(mean: &RunMean) -> f64 {
    mean.scores[0].mean
}

/// The run with the highest F1; of equal ones the first.
fn highest<'a>(means: impl DoubleEndedIterator<Item = &'a RunMean>) -> Option<&'a RunMean> {
    means.rev().max_by(|a, b| f1(a).total_cmp(&f1(b)))
}

impl Report {
    /// A sentence for each set: the best run by F1 and what sets it apart from the first, or the
    /// first from the one that comes next.
    pub(super) fn findings(&self) -> Vec<String> {
        let sets = self.all.sets();
        let of_set = |set: &&str| {
            let means: Vec<&RunMean> = self.means.iter().filter(|mean| mean.set == **set).collect();
            let sentence = self.finding(&means)?;
            Some(if set.is_empty() { sentence } else { format!("{set}: {sentence}") })
        };
        sets.iter().filter_map(of_set).collect()
    }

    fn finding(&self, means: &[&RunMean]) -> Option<String> {
        let best = highest(means.iter().copied())?;
        let name = |run: usize| self.all.names.get(run).map_or("", String::as_str);
        let level = self.resampling.level;
        let over = self.over(best);
        let first = means.iter().find(|mean| mean.run == 0);
        let (Some(first), true) = (first, means.len() > 1) else {
            let sure = best.scores[0].interval.map(|found| interval(level, found, false));
            let sure = sure.map(|sure| format!(" ({sure})")).unwrap_or_default();
            let (f1, em) = (f1(best), best.scores[1].mean);
            return Some(format!("{}: F1 {f1:.2}{sure}, EM {em:.2}{over}.", name(best.run)));
        };
        let next = highest(means.iter().copied().filter(|mean| mean.run != 0))?;
        let is_first = best.run == 0;
        let other = if is_first { next } else { best };
        let claim = match is_first {
            true => format!("No run has a higher F1 than {}, {:.2}", name(0), f1(first)),
            false => format!("{} has the highest F1, {:.2}", name(best.run), f1(best)),
        };
        let difference = self.differences.iter().find(|one| self.is_whole(one, other));
        let points = difference.map_or(f1(other) - f1(first), |one| one.test.difference.mean);
        let (shown, side) =
            (format!("{:.2} points", points.abs()), if points < 0.0 { "below" } else { "above" });
        let gap = match is_first {
            true => format!("{} comes next, {shown} {side} it", name(other.run)),
            false => format!("{shown} {side} {}", name(0)),
        };
        let sure = match difference.map(|one| one.test.difference) {
            None => String::new(),
            Some(found) => {
                let doubt = if found.low <= 0.0 && found.high >= 0.0 {
                    ", which holds 0: these questions do not tell the two apart"
                } else {
                    ""
                };
                format!(" ({}{doubt})", interval(level, found, true))
            }
        };
        Some(format!("{claim}; {gap}{sure}{over}."))
    }

    /// Whether a difference is that of a run's F1 on all that it shares with the first.
    fn is_whole(&self, one: &Difference, of: &RunMean) -> bool {
        let whole = self.differences.iter().any(|other| {
            (&other.set, other.run, other.metric) == (&of.set, of.run, 0) && other.pair.is_none()
        });
        (&one.set, one.run, one.metric) == (&of.set, of.run, 0) && one.pair.is_none() == whole
    }

    /// What a mean is over.
    fn over(&self, mean: &RunMean) -> String {
        let seeds = self.all.seeds.get(mean.run).copied().unwrap_or_default();
        let counted = [
            (mean.questions, "question", "questions"),
            (mean.pairs, "pair of languages", "pairs of languages"),
            (seeds, "seed", "seeds"),
        ];
        let several = |at: usize, count: usize| if at == 0 { count > 0 } else { count > 1 };
        let parts =
            counted.into_iter().enumerate().filter(|(at, (count, ..))| several(*at, *count));
        let parts: Vec<String> = parts
            .map(|(_, (count, one, many))| {
                format!("{} {}", thousands(count), if count == 1 { one } else { many })
            })
            .collect();
        if parts.is_empty() { String::new() } else { format!(", over {}", parts.join(", ")) }
    }
}
