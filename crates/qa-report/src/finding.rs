//! Writes summary sentences about the results.
use mlqa_eval::Interval;

use crate::Report;
use crate::collect::{PairScores, ReportData};
use crate::evidence::{Difference, RunMean};
use crate::text::{thousands, with_unit};

/// Returns the default title, with the languages of questions and texts if there is only one pair.
pub(crate) fn title(all: &ReportData) -> String {
    match all.pairs.as_slice() {
        [PairScores { pair, .. }] => {
            let (context, question) = (pair.context.0.name(), pair.question.0.name());
            format!("Answers to {question} questions about {context} texts")
        }
        _ => "Cross-lingual question answering".into(),
    }
}

fn format_interval(level: f64, Interval { low, high, .. }: Interval, signed: bool) -> String {
    let format_end = |value: f64| match signed {
        true => format!("{value:+.2}").replace('-', "−"),
        false => format!("{value:.2}"),
    };
    format!("{:.0} % interval {} to {}", 100.0 * level, format_end(low), format_end(high))
}

fn f1(mean: &RunMean) -> f64 {
    mean.scores[0].mean
}

/// The difference between a run's F1 and the first run's F1.
struct Gap<'a> {
    mean: &'a RunMean,
    f1: f64,
    points: f64,
    interval: Option<Interval>,
    questions: usize,
}

impl Report {
    /// Returns a sentence for each set. It states the run with the highest F1 and the difference
    /// from the first run. If the first run has the highest F1, the sentence states the difference
    /// from the second-best run.
    pub(crate) fn findings(&self) -> Vec<String> {
        let sets = self.all.sets();
        let set_finding = |set: &&str| {
            let means: Vec<&RunMean> = self.means.iter().filter(|mean| mean.set == **set).collect();
            let sentence = self.finding(&means)?;
            Some(if set.is_empty() { sentence } else { format!("{set}: {sentence}") })
        };
        sets.iter().filter_map(set_finding).collect()
    }

    fn finding(&self, means: &[&RunMean]) -> Option<String> {
        let name = |run: usize| self.all.name(run);
        let level = self.resampling.level;
        let first = means.iter().find(|mean| mean.run == 0);
        let gaps = first.map_or_else(Vec::new, |first| self.gaps(first, means));
        let best = gaps.iter().rev().max_by(|a, b| a.points.total_cmp(&b.points));
        let (Some(first), Some(best)) = (first, best) else {
            let best_run = means.iter().rev().max_by(|a, b| f1(a).total_cmp(&f1(b)))?;
            let interval_text =
                best_run.scores[0].interval.map(|bounds| format_interval(level, bounds, false));
            let interval_text = interval_text.map_or_else(String::new, |text| format!(" ({text})"));
            let (f1, em, counts_text) =
                (f1(best_run), best_run.scores[1].mean, self.counts_text(best_run));
            return Some(format!(
                "{}: F1 {f1:.2}{interval_text}, EM {em:.2}{counts_text}.",
                name(best_run.run)
            ));
        };
        let points = format!("{:.2} points", best.points.abs());
        let (first_name, best_name) = (name(0), name(best.mean.run));
        let statement = match best.points > 0.0 {
            true => {
                format!(
                    "{best_name} has the highest F1, {:.2}; {points} above {first_name}",
                    best.f1
                )
            }
            false => format!(
                "No run has a higher F1 than {first_name}, {:.2}; {best_name} is second, {points} below",
                best.f1 - best.points
            ),
        };
        let interval_text = best.interval.map_or_else(String::new, |found| {
            let note = match found.low <= 0.0 && found.high >= 0.0 {
                true => ", which contains 0: the difference is not significant",
                false => "",
            };
            format!(" ({}{note})", format_interval(level, found, true))
        });
        let counts = [first.questions, best.mean.questions];
        let counts_text = match best.interval.is_none() || counts == [best.questions; 2] {
            true => self.counts_text(best.mean),
            false => format!(", over the {} questions that both answer", thousands(best.questions)),
        };
        Some(format!("{statement}{interval_text}{counts_text}."))
    }

    /// Computes the F1 difference between the first run and every other run, on the questions that
    /// both runs answer.
    fn gaps<'a>(&self, first: &RunMean, means: &[&'a RunMean]) -> Vec<Gap<'a>> {
        let gap = |mean: &&'a RunMean| {
            let difference =
                self.differences.iter().find(|candidate| self.is_overall(candidate, mean));
            let (f1, points, interval, questions) = match difference {
                Some(found) => {
                    let points = found.test.difference;
                    (found.value, points.mean, Some(points), found.questions)
                }
                // Runs with only scores have no answers to compare, so the mean scores are
                // compared.
                None if mean.pairs == first.pairs => {
                    (f1(mean), f1(mean) - f1(first), None, mean.questions)
                }
                None => return None,
            };
            Some(Gap { mean, f1, points, interval, questions })
        };
        means.iter().filter(|mean| mean.run != 0).filter_map(gap).collect()
    }

    /// Returns whether `difference` is the overall F1 difference between the run of `mean` and the
    /// first run. It is the difference of means over pairs or, for a single pair, the difference on
    /// this pair.
    fn is_overall(&self, difference: &Difference, mean: &RunMean) -> bool {
        let has_mean = self.differences.iter().any(|other| {
            (&other.set, other.run, other.metric) == (&mean.set, mean.run, 0)
                && other.pair.is_none()
        });
        (&difference.set, difference.run, difference.metric) == (&mean.set, mean.run, 0)
            && difference.pair.is_none() == has_mean
    }

    /// Formats the numbers of questions, pairs and seeds of a mean.
    fn counts_text(&self, mean: &RunMean) -> String {
        let seeds = self.all.seed_counts[mean.run];
        let parts = [
            (mean.questions > 0).then(|| with_unit(mean.questions, "question", "questions")),
            (mean.pairs > 1).then(|| format!("{} pairs of languages", thousands(mean.pairs))),
            (seeds > 1).then(|| format!("{} seeds", thousands(seeds))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!(", over {}", parts.join(", ")) }
    }
}
