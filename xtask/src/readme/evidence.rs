//! The table of claims on `examples/README.md` and the papers' pages: what
//! `examples/claims.toml` names, with the numbers that runs stored beside their recipes, and the
//! verdict by the rules of that file.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use results::{MISSING, Measured, Spread, Table, bootstrap_means, middle};
use serde::Deserialize;

/// What is claimed.
const CLAIMS: &str = "examples/claims.toml";
/// Of the bootstrap over items.
const SAMPLES: usize = 10_000;
const SEED: u64 = 42;
/// Fewer seeds show nothing.
const LEAST_SEEDS: usize = 3;

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
    /// `RECIPE/NAME` for `examples/RECIPE/results/NAME.jsonl`.
    run: String,
    number: Number,
    /// What is claimed about, and the control.
    models: [String; 2],
    /// The control's, where it has its number in another setting.
    control_setting: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Number {
    setting: String,
    language: String,
    metric: String,
}

/// What the numbers say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Shown,
    NotShown,
    Contradicted,
}

impl Verdict {
    /// All intervals above zero, all below, or neither.
    fn of(seeds: usize, intervals: &[(f64, f64)]) -> Self {
        let all = |one: fn(&(f64, f64)) -> bool| !intervals.is_empty() && intervals.iter().all(one);
        match seeds {
            ..LEAST_SEEDS => Self::NotShown,
            _ if all(|(low, _)| *low > 0.0) => Self::Shown,
            _ if all(|(_, high)| *high < 0.0) => Self::Contradicted,
            _ => Self::NotShown,
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

/// The control and the claimed number of a claim.
struct Pair<'a>(&'a Measured, &'a Measured);

impl Pair<'_> {
    /// The number less the control's, by seed; a control without seeds is the same for all.
    fn by_seed(&self) -> Result<Vec<f64>> {
        let Self(number, control) = self;
        let paired = control.seeds.len() == number.seeds.len();
        let models = [&number.model, &control.model];
        ensure!(paired || control.seeds.is_empty(), "{models:?}: other numbers of seeds");
        let one = [number.value];
        let own = if number.seeds.is_empty() { &one[..] } else { &number.seeds };
        let of_control = |at: usize| control.seeds.get(at).copied().unwrap_or(control.value);
        Ok(own.iter().enumerate().map(|(at, value)| value - of_control(at)).collect())
    }

    /// The bootstrap interval of the difference over items, where both have them.
    fn over_items(&self) -> Option<(f64, f64)> {
        let Self(number, control) = self;
        let paired = !number.items.is_empty() && number.items.len() == control.items.len();
        let pairs = number.items.iter().zip(&control.items);
        let differences: Vec<f64> = pairs.map(|(own, base)| own - base).collect();
        paired.then(|| middle(&bootstrap_means(&differences, SAMPLES, SEED), 0.95))
    }

    /// Effect, interval over seeds, interval over items, n, verdict.
    fn cells(&self) -> Result<[String; 5]> {
        let differences = self.by_seed()?;
        let seeds = differences.len();
        let effect = Spread::of(differences);
        let over_items = self.over_items();
        let interval = |interval: Option<(f64, f64)>| {
            interval.map_or(MISSING.to_owned(), |(low, high)| {
                format!("{} to {}", signed(low), signed(high))
            })
        };
        let items = over_items.map_or(String::new(), |_| format!(", {} items", self.0.items.len()));
        let intervals: Vec<_> = effect.interval().into_iter().chain(over_items).collect();
        let Self(number, control) = self;
        Ok([
            format!("{:.1} − {:.1} = {}", number.value, control.value, signed(effect.mean)),
            interval(effect.interval()),
            interval(over_items),
            format!("{seeds} seeds{items}"),
            Verdict::of(seeds, &intervals).name().to_owned(),
        ])
    }
}

/// With its sign, the minus as wide as the plus.
fn signed(value: f64) -> String {
    format!("{value:+.1}").replace('-', "−")
}

/// The table of all claims, or of one paper's.
pub fn table(root: &Path, only: Option<&str>) -> Result<String> {
    let path = root.join(CLAIMS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let Claims { claims } = toml::from_str(&text).with_context(|| CLAIMS.to_owned())?;
    let mut runs: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    let columns =
        ["claim", "control", "measured", "effect", "95 %, seeds", "95 %, items", "n", "verdict"];
    let columns = columns.into_iter().skip(usize::from(only.is_some()));
    let mut table = Table::new(if only.is_some() { "claim" } else { "paper" }, columns)
        .with_text(&["claim", "control", "measured", "effect", "verdict"]);
    for claim in claims.iter().filter(|claim| only.is_none_or(|paper| claim.paper == paper)) {
        let (recipe, name) = claim.run.split_once('/').context("run: RECIPE/NAME")?;
        let path = root.join("examples").join(recipe).join("results").join(format!("{name}.jsonl"));
        if !runs.contains_key(&claim.run) {
            let numbers = if path.exists() { Measured::read(&path)? } else { Vec::new() };
            runs.insert(claim.run.clone(), numbers);
        }
        let numbers = runs.get(&claim.run).map_or(&[][..], Vec::as_slice);
        let Number { setting, language, metric } = &claim.number;
        let find = |model: &str, setting: &str| {
            let key = [model, setting, language, metric];
            numbers
                .iter()
                .find(|one| [&*one.model, &*one.setting, &*one.language, &*one.metric] == key)
        };
        let [model, control] = &claim.models;
        let other = claim.control_setting.as_deref().unwrap_or(setting);
        let found = find(model, setting).zip(find(control, other));
        let measured = match found {
            Some((number, control)) => Pair(number, control).cells()?,
            None => {
                let mut cells = [MISSING; 5].map(str::to_owned);
                "not run".clone_into(&mut cells[4]);
                cells
            }
        };
        let Claim { paper, claim, control, data, .. } = claim;
        let measured_on = format!("{metric}, {setting}; {data}");
        let first = if only.is_some() { claim } else { paper };
        let named = [claim, control, &measured_on].map(String::clone);
        let named = named.into_iter().skip(usize::from(only.is_some()));
        table.row(first, named.chain(measured));
    }
    Ok(table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(model: &str, seeds: &[f64], items: &[f64]) -> Measured {
        let number = Measured::of_seeds(model, "NER", "avg", "f1", seeds.iter().copied());
        Measured { items: items.to_vec(), ..number }
    }

    #[test]
    fn a_claim_is_shown_where_every_interval_is_above_zero() {
        let verdict = Verdict::of;
        assert_eq!(verdict(3, &[(0.1, 2.0), (0.2, 1.0)]), Verdict::Shown);
        assert_eq!(verdict(3, &[(0.1, 2.0), (-0.2, 1.0)]), Verdict::NotShown);
        assert_eq!(verdict(3, &[(-2.0, -0.1)]), Verdict::Contradicted);
        assert_eq!(verdict(2, &[(0.1, 2.0)]), Verdict::NotShown);
        assert_eq!(verdict(3, &[]), Verdict::NotShown);
    }

    #[test]
    fn seeds_and_items_are_paired() {
        let own = number("ours", &[12.0, 14.0, 16.0], &[10.0, 18.0]);
        let control = number("control", &[10.0, 11.0, 15.0], &[9.0, 17.0]);
        let cells = Pair(&own, &control).cells().unwrap();
        // Differences 2, 3, 1: mean 2, sd 1, half 4.303 / √3; of items always 1.
        assert_eq!(
            cells,
            ["14.0 − 12.0 = +2.0", "−0.5 to +4.5", "+1.0 to +1.0", "3 seeds, 2 items", "not shown"]
        );
        let guess = Measured::new("guess", "NER", "avg", "f1", 10.0);
        assert_eq!(Pair(&own, &guess).by_seed().unwrap(), [2.0, 4.0, 6.0]);
        assert!(Pair(&own, &number("two", &[1.0, 2.0], &[])).by_seed().is_err());
    }

    #[test]
    fn every_stored_run_has_the_numbers_that_are_claimed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = std::fs::read_to_string(root.join(CLAIMS)).unwrap();
        let Claims { claims } = toml::from_str(&text).unwrap();
        let rows = table(root, None).unwrap();
        let rows: Vec<&str> = rows.lines().skip(2).collect();
        assert_eq!(rows.len(), claims.len());
        for (claim, row) in claims.iter().zip(rows) {
            let (recipe, name) = claim.run.split_once('/').unwrap();
            let stored = root.join(format!("examples/{recipe}/results/{name}.jsonl")).exists();
            assert_eq!(stored, !row.ends_with("| not run |"), "{row}");
        }
    }
}
