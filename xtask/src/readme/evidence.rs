//! The tables of claims in `examples/README.md`. The tables list the claims of
//! `examples/claims.toml`, the results of stored runs, and verdicts by the rules in the comments of
//! `examples/claims.toml`.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use results::{MISSING, MeanInterval, Measured, Table, bootstrap_means, percentile_interval};
use serde::Deserialize;

/// The file with the claims.
const CLAIMS: &str = "examples/claims.toml";
/// Number of bootstrap samples of the items.
const RESAMPLES: usize = 10_000;
const SEED: u64 = 42;
/// Minimum number of seeds for using the interval over seeds. With fewer seeds, only the interval
/// over items is used.
const MIN_SEEDS: usize = 3;
/// Minimum number of items for a verdict with fewer than [`MIN_SEEDS`] seeds; with fewer items, the
/// verdict is "not shown".
const MIN_ITEMS: usize = 20;
/// The verdict on a claim whose run is not stored.
const NOT_RUN: &str = "not run";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    paper: String,
    claim: String,
    control: String,
    data: String,
    /// The encoder that the run starts from.
    encoder: String,
    /// `RECIPE/NAME` for `examples/RECIPE/results/NAME.jsonl`.
    run: String,
    number: ResultKey,
    /// Names of the claim's model and of the control.
    models: [String; 2],
    /// The control's setting, if it differs from the setting of the claim's model.
    control_setting: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultKey {
    setting: String,
    language: String,
    metric: String,
}

/// The 95 % interval of an effect over seeds or items, and the number of seeds or items.
#[derive(Clone, Copy)]
struct Estimate {
    count: usize,
    interval: Option<(f64, f64)>,
}

/// The verdict on a claim whose run is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Shown,
    NotShown,
    Contradicted,
}

impl Verdict {
    /// Compares confidence intervals with zero. With at least [`MIN_SEEDS`] seeds, the interval
    /// over seeds and, if available, the interval over items are compared. With fewer seeds, only
    /// the interval over items is compared, and it requires at least [`MIN_ITEMS`] items.
    fn decide(seeds: Estimate, items: Estimate) -> Self {
        let by_seeds = seeds.interval.filter(|_| seeds.count >= MIN_SEEDS);
        let by_items = items.interval;
        let by_items = by_items.filter(|_| by_seeds.is_some() || items.count >= MIN_ITEMS);
        let intervals: Vec<_> = by_seeds.into_iter().chain(by_items).collect();
        let all_intervals = |condition: fn(&(f64, f64)) -> bool| {
            !intervals.is_empty() && intervals.iter().all(condition)
        };
        if all_intervals(|(low, _)| *low > 0.0) {
            Self::Shown
        } else if all_intervals(|(_, high)| *high < 0.0) {
            Self::Contradicted
        } else {
            Self::NotShown
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Shown => "**shown**",
            Self::NotShown => "not shown",
            Self::Contradicted => "**contradicted here**",
        }
    }
}

/// The results of the claim's model and of the control.
struct Comparison<'a>(&'a Measured, &'a Measured);

impl Comparison<'_> {
    /// Returns the difference from the control's value for each seed. If the control has a single
    /// value, this value is used for all seeds.
    fn differences_by_seed(&self) -> Result<Vec<f64>> {
        let Self(number, control) = self;
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

    /// Computes the bootstrap interval of the difference over items. Returns `None` unless the
    /// model and the control have the same number of items.
    fn interval_over_items(&self) -> Option<(f64, f64)> {
        let Self(number, control) = self;
        let paired = !number.items.is_empty() && number.items.len() == control.items.len();
        let pairs = number.items.iter().zip(&control.items);
        let differences: Vec<f64> = pairs.map(|(value, control)| value - control).collect();
        paired.then(|| percentile_interval(&bootstrap_means(&differences, RESAMPLES, SEED), 0.95))
    }

    /// Returns three cells of the claim's row: the effect, its intervals over seeds and items, and
    /// the verdict.
    fn cells(&self) -> Result<[String; 3]> {
        let differences = self.differences_by_seed()?;
        let seeds = differences.len();
        let effect = MeanInterval::of(differences);
        let Self(number, control) = self;
        let items = number.items.len();
        let over_items = self.interval_over_items();
        let seeds_estimate = Estimate { count: seeds, interval: effect.interval() };
        let items_estimate = Estimate { count: items, interval: over_items };
        let range =
            |(low, high): (f64, f64)| format!("[{}, {}]", format_signed(low), format_signed(high));
        let seeds_text = match (effect.interval(), number.half_width) {
            (Some(interval), _) => format!("{} ({seeds} seeds)", range(interval)),
            (None, Some(_)) => "seeds not stored".to_owned(),
            (None, None) => "1 seed".to_owned(),
        };
        let items_text = over_items.map(|interval| format!("{} ({items} items)", range(interval)));
        let intervals: Vec<String> = std::iter::once(seeds_text).chain(items_text).collect();
        Ok([
            format!("{:.1} − {:.1} = {}", number.value, control.value, format_signed(effect.mean)),
            intervals.join("; "),
            Verdict::decide(seeds_estimate, items_estimate).name().to_owned(),
        ])
    }
}

/// Formats a value with its sign; minus is U+2212.
fn format_signed(value: f64) -> String {
    format!("{value:+.1}").replace('-', "−")
}

/// The results of stored runs by `RECIPE/NAME`; empty for a run that is not stored.
type Runs = BTreeMap<String, Vec<Measured>>;

/// Reads the claims and the results of their runs.
fn read_claims(root: &Path) -> Result<(Vec<Claim>, Runs)> {
    let text = crate::files::read(&root.join(CLAIMS))?;
    let Claims { claims } = toml::from_str(&text).with_context(|| CLAIMS.to_owned())?;
    let mut runs = Runs::new();
    for Claim { run, .. } in &claims {
        let (recipe, name) = run.split_once('/').context("run: expected RECIPE/NAME")?;
        let path = root.join("examples").join(recipe).join("results").join(format!("{name}.jsonl"));
        if !runs.contains_key(run) {
            let numbers = if path.exists() { Measured::read(&path)? } else { Vec::new() };
            runs.insert(run.clone(), numbers);
        }
    }
    Ok((claims, runs))
}

/// Formats all claims: a heading for each paper, and a table for each encoder. Claims of one paper
/// and encoder are consecutive in the file.
pub fn format_claims(root: &Path) -> Result<String> {
    let (claims, runs) = read_claims(root)?;
    let mut text = String::new();
    for paper in claims.chunk_by(|one, next| one.paper == next.paper) {
        for (index, group) in paper.chunk_by(|one, next| one.encoder == next.encoder).enumerate() {
            let Claim { paper, encoder, .. } = &group[0];
            if index == 0 {
                text += &format!("### {paper}\n\n");
            }
            text += &format!("Encoder: {encoder}\n\n{}\n", claims_table(group, &runs)?);
        }
    }
    Ok(text)
}

/// Returns a table with a row for each claim.
fn claims_table(claims: &[Claim], runs: &Runs) -> Result<Table> {
    let columns = ["control", "metric, setting; data", "effect", "95 % intervals", "verdict"];
    let mut table = Table::new("claim", columns).with_text_columns(&columns);
    for claim in claims {
        let numbers = runs.get(&claim.run).map_or(&[][..], Vec::as_slice);
        let ResultKey { setting, language, metric } = &claim.number;
        let find = |model: &str, setting: &str| {
            let key = [model, setting, language, metric];
            numbers.iter().find(|result| {
                [&*result.model, &*result.setting, &*result.language, &*result.metric] == key
            })
        };
        let [model, control] = &claim.models;
        let control_setting = claim.control_setting.as_deref().unwrap_or(setting);
        let result_cells = match find(model, setting).zip(find(control, control_setting)) {
            Some((number, control)) => Comparison(number, control).cells()?,
            None => [MISSING, MISSING, NOT_RUN].map(str::to_owned),
        };
        let measured_on = format!("{metric}, {setting}; {}", claim.data);
        table.add_row(
            &claim.claim,
            [claim.control.clone(), measured_on].into_iter().chain(result_cells),
        );
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result_of(model: &str, seeds: &[f64], items: &[f64]) -> Measured {
        let number = Measured::of_seeds(model, "NER", "avg", "f1", seeds.iter().copied());
        Measured { items: items.to_vec(), ..number }
    }

    #[test]
    fn verdicts_depend_on_the_intervals_and_with_few_seeds_on_the_items() {
        use Verdict::{Contradicted, NotShown, Shown};
        let (above, below) = (Some((0.1, 2.0)), Some((-2.0, -0.1)));
        let around_zero = Some((-0.2, 1.0));
        // The interval over two seeds, with one degree of freedom, is ignored.
        for (seeds, items, expected) in [
            ((3, above), (12, above), Shown),
            ((3, above), (12, around_zero), NotShown),
            ((3, around_zero), (48, above), NotShown),
            ((3, below), (0, None), Contradicted),
            ((2, above), (0, None), NotShown),
            ((3, None), (0, None), NotShown),
            ((1, None), (MIN_ITEMS, above), Shown),
            ((1, None), (MIN_ITEMS - 1, above), NotShown),
            ((2, above), (48, below), Contradicted),
        ] {
            let [by_seeds, by_items] =
                [seeds, items].map(|(count, interval)| Estimate { count, interval });
            assert_eq!(Verdict::decide(by_seeds, by_items), expected, "{seeds:?} {items:?}");
        }
    }

    #[test]
    fn a_mean_without_its_seeds_is_not_shown() {
        let mean = |model: &str, value: f64| {
            let number = Measured::new(model, "NER", "avg", "f1", value);
            Measured { half_width: Some(0.1), ..number }
        };
        let [.., intervals, verdict] =
            Comparison(&mean("ours", 20.0), &mean("control", 10.0)).cells().unwrap();
        assert_eq!([intervals.as_str(), &verdict], ["seeds not stored", "not shown"]);
    }

    #[test]
    fn folds_of_one_seed_are_paired_by_article() {
        // Four folds of 12 articles each, as `tables::store_results` pools them.
        let items = |effect: f64| -> Vec<f64> {
            (0..48).map(|at| f64::from(at) + effect * f64::from(at % 3)).collect()
        };
        let pooled = |model: &str, effect: f64, value: f64| {
            let number = Measured::new(model, "two languages", "avg", "f1", value);
            Measured { items: items(effect), ..number }
        };
        let (model_number, control) = (pooled("ours", 1.0, 24.5), pooled("control", 0.0, 23.5));
        let [effect, intervals, verdict] = Comparison(&model_number, &control).cells().unwrap();
        assert_eq!((effect.as_str(), verdict.as_str()), ("24.5 − 23.5 = +1.0", "**shown**"));
        assert!(
            intervals.starts_with("1 seed; [+") && intervals.ends_with(" (48 items)"),
            "{intervals}"
        );
        let [.., verdict] = Comparison(&control, &model_number).cells().unwrap();
        assert_eq!(verdict, "**contradicted here**");
    }

    #[test]
    fn seeds_and_items_are_paired() {
        let model_number = result_of("ours", &[12.0, 14.0, 16.0], &[10.0, 18.0]);
        let control = result_of("control", &[10.0, 11.0, 15.0], &[9.0, 17.0]);
        let cells = Comparison(&model_number, &control).cells().unwrap();
        // The differences by seed are 2, 3, 1: mean 2, sd 1, half width 4.303 / √3. All differences
        // by item are 1.
        assert_eq!(
            cells,
            ["14.0 − 12.0 = +2.0", "[−0.5, +4.5] (3 seeds); [+1.0, +1.0] (2 items)", "not shown",]
        );
        let baseline = Measured::new("guess", "NER", "avg", "f1", 10.0);
        assert_eq!(
            Comparison(&model_number, &baseline).differences_by_seed().unwrap(),
            [2.0, 4.0, 6.0]
        );
        assert!(
            Comparison(&model_number, &result_of("two", &[1.0, 2.0], &[]))
                .differences_by_seed()
                .is_err()
        );
    }

    #[test]
    fn models_of_claims_are_stored_or_are_arms() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (claims, runs) = read_claims(root).unwrap();
        let text = format_claims(root).unwrap();
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let is_header = |row: &&str| row.starts_with("| claim |") || row.starts_with("|---");
        let rows: Vec<&str> = rows.filter(|row| !is_header(row)).collect();
        assert_eq!(rows.len(), claims.len());
        for (claim, row) in claims.iter().zip(rows) {
            // A run may lack results for some arms, but the models of each claim must be arms of
            // the recipe.
            let is_stored = |model: &String| runs[&claim.run].iter().any(|one| one.model == *model);
            let stored = claim.models.iter().all(is_stored);
            if !stored && !runs[&claim.run].is_empty() {
                let (recipe, run) = claim.run.split_once('/').unwrap();
                let folder = root.join("examples").join(recipe);
                let arms = |name: &str| -> toml::Table {
                    let text = std::fs::read_to_string(folder.join(name)).unwrap();
                    let recipe: toml::Table = text.parse().unwrap();
                    let arms = recipe.get("arms").and_then(|arms| arms.as_table());
                    arms.map_or_else(toml::Table::new, Clone::clone)
                };
                let arms = [arms("small.toml"), arms(&format!("{run}.toml"))];
                // Tables use an arm's title as its name, if it has one.
                let is_named = |(name, arm): (&String, &toml::Value), model: &String| {
                    name == model
                        || arm.get("title").and_then(|title| title.as_str()) == Some(model)
                };
                let is_arm = |model: &&String| {
                    arms.iter().flatten().any(|named_arm| is_named(named_arm, model))
                };
                let not_stored = claim.models.iter().filter(|model| !is_stored(model));
                assert!(not_stored.clone().all(|model| is_arm(&model)), "{row}");
            }
            assert_eq!(stored, !row.ends_with("| not run |"), "{row}");
        }
    }

    #[test]
    fn claims_of_one_paper_and_encoder_are_consecutive() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = format_claims(root).unwrap();
        let mut headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        let count = headings.len();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), count, "a paper has two headings");
        for paper in text.split("### ") {
            let mut encoders: Vec<&str> =
                paper.lines().filter(|line| line.starts_with("Encoder: ")).collect();
            let count = encoders.len();
            encoders.sort_unstable();
            encoders.dedup();
            assert_eq!(encoders.len(), count, "{paper}: an encoder has two tables");
        }
    }
}
