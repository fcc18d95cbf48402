//! The comparison of a method with its control: effect, intervals and verdict.
use anyhow::{Result, ensure};
use results::{MISSING, MeanInterval, Measured, bootstrap_weighted_means, percentile_interval};

/// Number of bootstrap samples of the items.
const RESAMPLES: usize = 10_000;
const SEED: u64 = 42;
/// Minimum number of seeds for a verdict and for using the interval over seeds.
const MIN_SEEDS: usize = 3;

/// The number of seeds of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seeds {
    Count(usize),
    /// Only a mean over seeds is stored.
    NotStored,
}

/// The verdict on a claim whose run is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Shown,
    NotShown,
    Contradicted,
    /// Fewer than [`MIN_SEEDS`] seeds, so there is no verdict.
    FewSeeds(usize),
    SeedsNotStored,
}

impl Verdict {
    /// Compares all intervals with the range of the placebo, from `-placebo` to `placebo`. Without a
    /// placebo, the range is 0.
    fn decide(seeds: Seeds, intervals: &[(f64, f64)], placebo: f64) -> Self {
        match seeds {
            Seeds::NotStored => Self::SeedsNotStored,
            Seeds::Count(count) if count < MIN_SEEDS => Self::FewSeeds(count),
            Seeds::Count(_) if intervals.iter().all(|(low, _)| *low > placebo) => Self::Shown,
            Seeds::Count(_) if intervals.iter().all(|(_, high)| *high < -placebo) => {
                Self::Contradicted
            }
            Seeds::Count(_) => Self::NotShown,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shown => "**shown**",
            Self::NotShown => "not shown",
            Self::Contradicted => "**contradicted here**",
            Self::FewSeeds(1) => "one seed",
            Self::FewSeeds(_) => "two seeds",
            Self::SeedsNotStored => "seeds not stored",
        }
    }
}

/// The results of two models: of the claim's model and its control, or of a placebo's two models.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub number: &'a Measured,
    pub control: &'a Measured,
}

/// The difference of two models, with 95 % intervals.
struct Effect {
    mean: f64,
    seeds: Seeds,
    /// `None` for fewer than two seeds.
    over_seeds: Option<(f64, f64)>,
    /// The interval and the number of items; `None` without items of both models.
    over_items: Option<((f64, f64), usize)>,
}

/// The difference of two models, and the range of all its intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EffectRange {
    pub mean: f64,
    /// `None` without seeds and items.
    pub range: Option<(f64, f64)>,
}

impl Effect {
    /// Returns the intervals that decide: over seeds, from [`MIN_SEEDS`] seeds on, and over items.
    fn deciding_intervals(&self) -> Vec<(f64, f64)> {
        let has_seeds = |_: &(f64, f64)| matches!(self.seeds, Seeds::Count(MIN_SEEDS..));
        let over_seeds = self.over_seeds.filter(has_seeds);
        over_seeds.into_iter().chain(self.over_items.map(|(interval, _)| interval)).collect()
    }

    /// Returns the largest absolute value in the deciding intervals, or of the mean if there is no
    /// interval. The sign of a placebo's effect is meaningless.
    fn placebo_range(&self) -> f64 {
        let ends = self.deciding_intervals().into_iter().flat_map(|(low, high)| [low, high]);
        ends.chain([self.mean]).map(f64::abs).fold(0.0, f64::max)
    }

    /// Formats the intervals, with the number of seeds or items in parentheses.
    fn format_intervals(&self) -> String {
        let range =
            |(low, high): (f64, f64)| format!("[{}, {}]", format_signed(low), format_signed(high));
        let over_seeds = match (self.seeds, self.over_seeds) {
            (Seeds::Count(count), Some(interval)) => {
                Some(format!("{} ({count} seeds)", range(interval)))
            }
            _ => None,
        };
        let over_items =
            self.over_items.map(|(interval, count)| format!("{} ({count} items)", range(interval)));
        let intervals: Vec<String> = over_seeds.into_iter().chain(over_items).collect();
        if intervals.is_empty() { MISSING.to_owned() } else { intervals.join("; ") }
    }
}

impl Comparison<'_> {
    /// Returns the difference from the control's value for each seed. If the control has a single
    /// value, this value is used for all seeds.
    fn differences_by_seed(&self) -> Result<Vec<f64>> {
        let Self { number, control } = self;
        let paired = control.seeds.len() == number.seeds.len();
        let models = [&number.model, &control.model];
        ensure!(paired || control.seeds.is_empty(), "{models:?}: different numbers of seeds");
        let single = [number.value];
        let model_values = if number.seeds.is_empty() { &single[..] } else { &number.seeds };
        // A control without seeds was run once, and its value applies to all seeds.
        let control_value = |at: usize| match control.seeds.is_empty() {
            true => control.value,
            false => control.seeds[at],
        };
        Ok(model_values.iter().enumerate().map(|(at, value)| value - control_value(at)).collect())
    }

    /// Computes the bootstrap interval of the difference over items, each with its weight in the
    /// difference. Returns `None` if the model or the control has no items.
    fn interval_over_items(&self) -> Result<Option<((f64, f64), usize)>> {
        let Self { number, control } = self;
        if number.items.is_empty() || control.items.is_empty() {
            return Ok(None);
        }
        let same_items =
            number.items.len() == control.items.len() && number.weights == control.weights;
        let models = [&number.model, &control.model];
        ensure!(same_items, "{models:?}: different numbers or weights of items");
        let items = number.weighted_items().zip(&control.items);
        let differences: Vec<(f64, f64)> =
            items.map(|((value, weight), control)| (value - control, weight)).collect();
        let means = bootstrap_weighted_means(&differences, RESAMPLES, SEED);
        Ok(Some((percentile_interval(&means, 0.95), differences.len())))
    }

    fn effect(&self) -> Result<Effect> {
        let differences = self.differences_by_seed()?;
        let has_mean_only = |one: &Measured| one.half_width.is_some() && one.seeds.is_empty();
        let seeds = match has_mean_only(self.number) || has_mean_only(self.control) {
            true => Seeds::NotStored,
            false => Seeds::Count(differences.len()),
        };
        let mean_interval = MeanInterval::of(differences);
        Ok(Effect {
            mean: mean_interval.mean,
            seeds,
            over_seeds: mean_interval.interval(),
            over_items: self.interval_over_items()?,
        })
    }

    fn format_effect(&self, effect: &Effect) -> String {
        let Self { number, control } = self;
        format!("{:.1} − {:.1} = {}", number.value, control.value, format_signed(effect.mean))
    }

    /// Returns the cells of a row: the effect, its intervals over seeds and items, the placebo's
    /// effect with its intervals, and the verdict.
    ///
    /// # Errors
    /// If the models have different seeds or items, or if the control's value is 0: such a control
    /// does not measure anything.
    pub(super) fn cells(&self, placebo: Option<Comparison<'_>>) -> Result<([String; 3], Verdict)> {
        let Self { number, control } = self;
        ensure!(
            control.value != 0.0,
            "the control {:?} is 0 for {:?}: choose a control that can be better or worse",
            control.model,
            number.model
        );
        let effect = self.effect()?;
        let (mut range, mut placebo_text) = (0.0, MISSING.to_owned());
        if let Some(placebo) = placebo {
            let placebo_effect = placebo.effect()?;
            range = placebo_effect.placebo_range();
            placebo_text = format!(
                "{} − {} = {}, {}",
                placebo.number.model,
                placebo.control.model,
                format_signed(placebo_effect.mean),
                placebo_effect.format_intervals()
            );
        }
        let verdict = Verdict::decide(effect.seeds, &effect.deciding_intervals(), range);
        Ok(([self.format_effect(&effect), effect.format_intervals(), placebo_text], verdict))
    }

    /// Returns the effect, and the range of all its intervals.
    pub(super) fn effect_and_range(&self) -> Result<EffectRange> {
        let effect = self.effect()?;
        let intervals =
            effect.over_seeds.into_iter().chain(effect.over_items.map(|(interval, _)| interval));
        let range = intervals.reduce(|(low, high), other| (low.min(other.0), high.max(other.1)));
        Ok(EffectRange { mean: effect.mean, range })
    }
}

/// Formats a value with its sign; minus is U+2212.
fn format_signed(value: f64) -> String {
    format!("{value:+.1}").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result_of(model: &str, seeds: &[f64], items: &[f64]) -> Measured {
        let number = Measured::of_seeds(model, "NER", "avg", "f1", seeds.iter().copied());
        Measured { items: items.to_vec(), ..number }
    }

    fn compare<'a>(number: &'a Measured, control: &'a Measured) -> Comparison<'a> {
        Comparison { number, control }
    }

    #[test]
    fn verdicts_depend_on_seeds_and_on_all_intervals() {
        use Verdict::{Contradicted, FewSeeds, NotShown, SeedsNotStored, Shown};
        let (above, below, around_zero) = ((0.1, 2.0), (-2.0, -0.1), (-0.2, 1.0));
        for (seeds, intervals, expected) in [
            (Seeds::Count(3), vec![above, above], Shown),
            (Seeds::Count(3), vec![above, around_zero], NotShown),
            (Seeds::Count(3), vec![around_zero, above], NotShown),
            (Seeds::Count(3), vec![below], Contradicted),
            (Seeds::Count(3), vec![below, above], NotShown),
            (Seeds::Count(2), vec![above, above], FewSeeds(2)),
            (Seeds::Count(1), vec![below], FewSeeds(1)),
            (Seeds::NotStored, vec![above], SeedsNotStored),
        ] {
            assert_eq!(
                Verdict::decide(seeds, &intervals, 0.0),
                expected,
                "{seeds:?} {intervals:?}"
            );
        }
        assert_eq!([1, 2].map(|count| FewSeeds(count).name()), ["one seed", "two seeds"]);
    }

    #[test]
    fn an_effect_within_the_placebos_range_is_not_shown() {
        let above = [(0.5, 2.0), (0.6, 1.8)];
        for (placebo, expected) in [
            (0.0, Verdict::Shown),
            (0.4, Verdict::Shown),
            (0.5, Verdict::NotShown),
            (3.0, Verdict::NotShown),
        ] {
            assert_eq!(Verdict::decide(Seeds::Count(3), &above, placebo), expected, "{placebo}");
            let below = above.map(|(low, high)| (-high, -low));
            let opposite = match expected {
                Verdict::Shown => Verdict::Contradicted,
                other => other,
            };
            assert_eq!(Verdict::decide(Seeds::Count(3), &below, placebo), opposite, "{placebo}");
        }
    }

    #[test]
    fn a_placebo_with_the_opposite_sign_also_limits_an_effect() {
        let ours = result_of("ours", &[15.0, 15.1, 15.2], &[]);
        let control = result_of("control", &[10.0, 10.1, 10.2], &[]);
        let comparison = compare(&ours, &control);
        // Differences by seed: −8, −6, −7; mean −7, half width 4.303 / √3 = 2.484.
        let first = result_of("order 1", &[2.0, 4.0, 3.0], &[]);
        let second = result_of("order 2", &[10.0, 10.0, 10.0], &[]);
        let (cells, verdict) = comparison.cells(Some(compare(&first, &second))).unwrap();
        assert_eq!(cells[2], "order 1 − order 2 = −7.0, [−9.5, −4.5] (3 seeds)");
        assert_eq!(verdict, Verdict::NotShown);
        let (cells, verdict) = comparison.cells(None).unwrap();
        assert_eq!((cells[2].as_str(), verdict), (MISSING, Verdict::Shown));
        // The range of a placebo with one seed is its interval over items, or its effect.
        let range = |items: &[f64]| {
            let (first, second) = (result_of("1", &[12.0], items), result_of("2", &[11.0], items));
            compare(&first, &second).effect().unwrap().placebo_range()
        };
        assert_eq!(range(&[]), 1.0);
        let first = result_of("1", &[12.0], &[10.0, 14.0]);
        let second = result_of("2", &[11.0], &[13.0, 9.0]);
        assert_eq!(compare(&first, &second).effect().unwrap().placebo_range(), 5.0);
    }

    #[test]
    fn a_mean_without_its_seeds_has_no_verdict() {
        let mean = |model: &str, value: f64| {
            let number = Measured::new(model, "NER", "avg", "f1", value);
            Measured { half_width: Some(0.1), ..number }
        };
        let (cells, verdict) =
            compare(&mean("ours", 20.0), &mean("control", 10.0)).cells(None).unwrap();
        assert_eq!((cells[1].as_str(), verdict), (MISSING, Verdict::SeedsNotStored));
    }

    #[test]
    fn folds_of_one_seed_are_paired_by_article_and_have_no_verdict() {
        // Four folds of 12 articles each, as `tables::store_results` pools them.
        let items = |effect: f64| -> Vec<f64> {
            (0..48).map(|at| f64::from(at) + effect * f64::from(at % 3)).collect()
        };
        let pooled = |model: &str, effect: f64, value: f64| {
            let number = Measured::new(model, "two languages", "avg", "f1", value);
            Measured { items: items(effect), ..number }
        };
        let (number, control) = (pooled("ours", 1.0, 24.5), pooled("control", 0.0, 23.5));
        let ([effect, intervals, _], verdict) = compare(&number, &control).cells(None).unwrap();
        assert_eq!((effect.as_str(), verdict), ("24.5 − 23.5 = +1.0", Verdict::FewSeeds(1)));
        assert!(intervals.starts_with("[+") && intervals.ends_with(" (48 items)"), "{intervals}");
    }

    #[test]
    fn articles_are_resampled_with_their_numbers_of_questions() {
        // Exact match of an article with 90 questions falls by 10 points, and exact match of two
        // articles with 5 questions each rises by 60: −3 in the mean over questions, and +37 in the
        // mean over articles.
        let article_means = |model: &str, value: f64, means: [f64; 3]| {
            let weights = [90.0, 5.0, 5.0];
            Measured::of_seeds(model, "XQuAD", "avg", "em", [value; 3])
                .with_items(means.into_iter().zip(weights))
        };
        let number = article_means("ours", 42.0, [40.0, 60.0, 60.0]);
        let control = article_means("control", 45.0, [50.0, 0.0, 0.0]);
        let comparison = compare(&number, &control);
        let ((low, high), count) = comparison.interval_over_items().unwrap().unwrap();
        // Samples without the large article have the mean 60. All others contain it, so their mean is
        // at most (−10 · 90 + 2 · 60 · 5) / 100 = −3.
        assert!((low + 10.0).abs() < 1e-9 && (high - 60.0).abs() < 1e-9, "{low} {high}");
        assert_eq!(count, 3);
        let differences: Vec<(f64, f64)> = number
            .weighted_items()
            .zip(&control.items)
            .map(|((value, weight), control)| (value - control, weight))
            .collect();
        let means = bootstrap_weighted_means(&differences, 1000, SEED);
        assert!(means.iter().all(|mean| *mean > 59.99 || *mean < -2.99), "{means:?}");
        let other_weights = Measured { weights: Vec::new(), ..control.clone() };
        let error = compare(&number, &other_weights).cells(None).unwrap_err().to_string();
        assert!(error.contains("different numbers or weights of items"), "{error}");
    }

    #[test]
    fn seeds_and_items_are_paired() {
        let number = result_of("ours", &[12.0, 14.0, 16.0], &[10.0, 18.0]);
        let control = result_of("control", &[10.0, 11.0, 15.0], &[9.0, 17.0]);
        let (cells, verdict) = compare(&number, &control).cells(None).unwrap();
        // The differences by seed are 2, 3, 1: mean 2, sd 1, half width 4.303 / √3. All differences
        // by item are 1.
        assert_eq!(
            cells[..2],
            ["14.0 − 12.0 = +2.0", "[−0.5, +4.5] (3 seeds); [+1.0, +1.0] (2 items)"]
        );
        assert_eq!(verdict, Verdict::NotShown);
        let baseline = Measured::new("guess", "NER", "avg", "f1", 10.0);
        assert_eq!(compare(&number, &baseline).differences_by_seed().unwrap(), [2.0, 4.0, 6.0]);
        let two_seeds = result_of("two", &[1.0, 2.0], &[]);
        assert!(compare(&number, &two_seeds).differences_by_seed().is_err());
    }

    #[test]
    fn a_control_of_zero_is_an_error() {
        let number = result_of("MEP", &[10.0, 13.0, 8.0], &[]);
        let control = result_of("MLM", &[0.0, 0.0, 0.0], &[]);
        let error = compare(&number, &control).cells(None).unwrap_err().to_string();
        assert!(error.starts_with("the control \"MLM\" is 0 for \"MEP\""), "{error}");
    }
}
