//! Builds the recipes' programs and the programs that prepare their data, and runs recipes.
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, command, run_checked, target_folder};
use crate::setup::{Options, ensure_libtorch};

/// The demo's recipe: the recipe of "Bridging the Language Gap" on the embedded data.
pub const DEMO: &str = "examples/bridging-gap/small.toml";

/// Packages with a program of the same name that prepares recipes' data.
const DATA_PROGRAMS: [&str; 2] = ["demo-data", "kg-triples"];

/// Cargo options of the demo's build. An optimised build would take much longer and save little
/// time afterwards, because libtorch runs most computations of the demo.
pub const DEMO_BUILD: [&str; 3] = ["--no-default-features", "--features", "kg-triples/cli"];

/// Builds the programs that prepare data, and the programs that `selection` selects: cargo's
/// arguments, such as `--example NAME`. A single build avoids building shared crates twice.
pub fn build(root: &Path, cargo_options: &[&str], selection: &[&str]) -> Result<()> {
    let mut build = cargo(root);
    build.arg("build").args(cargo_options).args(["-p", "examples"]).args(selection);
    for program in DATA_PROGRAMS {
        build.args(["-p", program, "--bin", program]);
    }
    run_checked(&mut build)
}

/// Sets up libtorch, builds the programs with `cargo_options`, and runs the recipe's program with
/// `--prepare` and `arguments`.
pub fn run(root: &Path, recipe: &Path, cargo_options: &[&str], arguments: &[String]) -> Result<()> {
    let name = program_name(root, recipe)?;
    ensure_libtorch(root, Options::default())?;
    build(root, cargo_options, &["--example", &name])?;
    run_built(root, recipe, cargo_options, arguments)
}

/// Runs a recipe's program, which was built with `cargo_options`, with `--prepare` and `arguments`.
pub fn run_built(
    root: &Path,
    recipe: &Path,
    cargo_options: &[&str],
    arguments: &[String],
) -> Result<()> {
    let name = program_name(root, recipe)?;
    let profile = if cargo_options.contains(&"--release") { "release" } else { "debug" };
    let program = target_folder()?.join(profile).join("examples").join(name);
    run_checked(command(program, root).arg(recipe).arg("--prepare").args(arguments))
}

/// Returns the name of a recipe's program, which is the name of the recipe's folder.
pub fn program_name(root: &Path, recipe: &Path) -> Result<String> {
    let folder = std::path::absolute(recipe).ok();
    let name = folder.as_deref().and_then(|path| path.parent()?.file_name()?.to_str());
    let name = name.with_context(|| format!("{}: not in a folder", recipe.display()))?;
    if !root.join("examples").join(name).join("main.rs").is_file() {
        bail!(
            "{}: no program is named {name}; start the recipe with `cargo run --release -p examples \
             --example PROGRAM -- {} --prepare`",
            recipe.display(),
            recipe.display()
        );
    }
    Ok(name.to_owned())
}
