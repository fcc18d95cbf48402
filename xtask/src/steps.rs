//! `cargo xtask test`: runs the checks, ordered so that failures appear early.
use crate::builds::{PARQUET, libtorch_tests};
use crate::process::{Failed, cargo, read_stdout, run};
use crate::progress::format_duration;
use crate::{pretrained, wheel};
use anyhow::Result;
use std::path::Path;
use std::time::Instant;

/// A check, which is one cargo command.
struct Step {
    title: &'static str,
    arguments: &'static [&'static str],
    /// Name and value of an environment variable that the command requires.
    variable: Option<(&'static str, &'static str)>,
    /// Whether `--quick` runs this step.
    quick: bool,
}

/// Titles of the steps that are skipped if their requirements are not installed.
const LICENCES: &str = "licences and bans";
const WHEEL: &str = "Python packages";
const PRETRAINED: &str = "the pretrained encoder";

/// Substring in the names of tests with the pretrained encoder.
const ENCODER_TESTS: &str = "pretrained_encoder_";

/// Substring in the names of tests that run a recipe.
const RECIPE_TESTS: &str = "recipe_";

/// Features of checks that link no program, and therefore require neither libtorch nor its
/// bindings.
const UNLINKED_FEATURES: &str = "mlqa-eval/parquet,torch-ext/doc-only";

#[rustfmt::skip]
const STEPS: &[Step] = &[
    step("format", &["fmt", "--all", "--check"]),
    step("clippy", &["clippy", "--workspace", "--all-targets", "--features", UNLINKED_FEATURES, "--", "-D", "warnings"]),
    step("clippy without tokenizers", &["clippy", "-p", "mlqa-eval", "--no-default-features", "--features", "cli", "--all-targets", "--", "-D", "warnings"]),
    step("clippy of the libraries alone", &["clippy", "-p", "kg-triples", "-p", "mlqa-eval", "-p", "polyqa", "-p", "polyqa-hub", "-p", "qa-report", "-p", "qa-translate", "-p", "transfer-eval", "--no-default-features", "--features", "polyqa/doc-only", "--lib", "--", "-D", "warnings"]),
    Step {
        variable: Some(("RUSTDOCFLAGS", "-D warnings")),
        quick: false,
        ..step("docs", &["doc", "--workspace", "--no-deps", "--features", UNLINKED_FEATURES])
    },
    Step {
        quick: false,
        ..step(LICENCES, &["deny", "check", "licenses", "bans", "sources"])
    },
    Step {
        quick: false,
        ..step("packages", &["xtask", "package"])
    },
    step("libtorch-free tests", &["test", "--features", PARQUET]),
    Step {
        quick: false,
        ..step(WHEEL, &["xtask", "wheel", "--test"])
    },
    // The feature `mlqa-eval/parquet` is not enabled in this step, because it would increase the
    // build time of the packages that require libtorch.
    step("libtorch tests", libtorch_tests!["--", "--skip", RECIPE_TESTS, "--skip", ENCODER_TESTS]),
    Step {
        quick: false,
        ..step(PRETRAINED, libtorch_tests!["--", ENCODER_TESTS])
    },
    Step {
        quick: false,
        ..step("recipes at a few steps each", libtorch_tests!["--", RECIPE_TESTS])
    },
    Step {
        quick: false,
        ..step("the GPU's checks on the CPU", &["xtask", "gpu-bundle", "--cpu", "--dev"])
    },
];

const fn step(title: &'static str, arguments: &'static [&'static str]) -> Step {
    Step { title, arguments, variable: None, quick: true }
}

impl Step {
    /// Returns the step as a shell command.
    fn command_line(&self) -> String {
        let mut line = String::new();
        if let Some((name, value)) = self.variable {
            line += &format!("{name}=\"{value}\" ");
        }
        line += "cargo";
        for argument in self.arguments {
            line += " ";
            line += argument;
        }
        line
    }

    /// Returns the reason for skipping the step, if a requirement is missing. For tests with the
    /// pretrained encoder, downloads the encoder first.
    fn missing_requirement(&self, root: &Path) -> Result<Option<String>> {
        Ok(match self.title {
            LICENCES if read_stdout(cargo(root).args(["deny", "--version"])).is_none() => {
                Some("cargo-deny is not installed (`cargo install --locked cargo-deny`)".into())
            }
            WHEEL => wheel::missing_requirement(root),
            PRETRAINED => pretrained::provide_encoder(root)?,
            _ => None,
        })
    }
}

/// Runs the steps and stops at the first failure. If `quick` is set, runs only the steps of
/// `--quick`.
///
/// `long` sets the variable `POLYQA_LONG` to 1, which enables the long variants of the tests.
pub fn run_checks(root: &Path, quick: bool, long: bool) -> Result<()> {
    let steps: Vec<_> = STEPS.iter().filter(|step| step.quick || !quick).collect();
    let mut times = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n[{}/{}] {}: {}", index + 1, steps.len(), step.title, step.command_line());
        if let Some(reason) = step.missing_requirement(root)? {
            println!("skipped: {reason}");
            times.push((step.title, None));
            continue;
        }
        if step.title == LICENCES {
            println!("(advisories change daily and are skipped: `cargo deny check advisories`)");
        }
        let started = Instant::now();
        let mut command = cargo(root);
        command.args(step.arguments);
        if long {
            command.env("POLYQA_LONG", "1");
        }
        if let Some((name, value)) = step.variable {
            command.env(name, value);
        }
        let code = run(&mut command)?;
        times.push((step.title, Some(started.elapsed().as_secs_f64())));
        if code != 0 {
            eprintln!("\nerror: step {} of {} failed: {}", index + 1, steps.len(), step.title);
            eprintln!("run only this step with: {}", step.command_line());
            return Err(Failed(code).into());
        }
    }
    print!("\n{}", format_report(&times));
    Ok(())
}

/// Formats the durations of the steps and their total.
fn format_report(times: &[(&str, Option<f64>)]) -> String {
    let mut text = String::new();
    for (title, seconds) in times {
        let seconds = seconds.map_or_else(|| "skipped".to_owned(), format_duration);
        text += &format!("{title:<30} {seconds:>12}\n");
    }
    let total: f64 = times.iter().filter_map(|(_, seconds)| *seconds).sum();
    let passed = times.iter().filter(|(_, seconds)| seconds.is_some()).count();
    let skipped = times.len() - passed;
    let note = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    text += &format!("success: {passed} steps passed{note} in {}\n", format_duration(total));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_run_by_one_step() {
        let tests: Vec<_> = STEPS
            .iter()
            .filter(|step| step.arguments.first() == Some(&"test"))
            .map(|step| step.arguments.to_vec())
            .collect();
        let [libtorch_free, libtorch, encoder, recipes] = tests.as_slice() else {
            panic!("{tests:?}")
        };
        assert_eq!(libtorch_free.join(" "), "test --features mlqa-eval/parquet");
        // The last three test steps test the same packages. The name of a test determines the step
        // that runs it.
        let packages = |words: &[&str]| words.split(|word| *word == "--").next().unwrap().join(" ");
        assert_eq!(packages(libtorch), packages(encoder));
        assert_eq!(packages(libtorch), packages(recipes));
        assert!(libtorch.join(" ").ends_with(" -- --skip recipe_ --skip pretrained_encoder_"));
        assert!(encoder.join(" ").ends_with(" -- pretrained_encoder_"));
        assert!(recipes.join(" ").ends_with(" -- recipe_"));
        // The excluded packages are the default members, which a plain `cargo test` tests.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let metadata = cargo(root)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let default_members = metadata["workspace_default_members"].as_array().unwrap();
        let mut default_names: Vec<_> = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|package| default_members.contains(&package["id"]))
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        let mut excluded: Vec<_> =
            libtorch.windows(2).filter(|pair| pair[0] == "--exclude").map(|pair| pair[1]).collect();
        default_names.sort_unstable();
        excluded.sort_unstable();
        assert_eq!(excluded, default_names);
    }
}
