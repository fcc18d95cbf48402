//! Recipes with the programs that prepare their data, built together.
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, command, run as start, target_folder};
use crate::setup::{Options, ensure};

/// The demo's recipe: the first paper's on the embedded data.
pub const DEMO: &str = "examples/bridging-gap/small.toml";

/// Packages with a program of the same name that recipes prepare data with.
const PREPARING: [&str; 2] = ["demo-data", "kg-triples"];

/// Features of the demo's build: all that its data needs, without Parquet files.
pub const DEMO_FEATURES: [&str; 3] = ["--no-default-features", "--features", "kg-triples/cli"];

/// Builds programs of `examples/`, those that `examples` selects, and those that prepare data. One
/// build, so that crates that both use are built once.
pub fn build(root: &Path, profile: &[&str], examples: &[&str]) -> Result<()> {
    let mut build = cargo(root);
    build.arg("build").args(profile).args(["-p", "examples"]).args(examples);
    for program in PREPARING {
        build.args(["-p", program, "--bin", program]);
    }
    if start(&mut build)? != 0 {
        bail!("the programs cannot be built");
    }
    Ok(())
}

/// Set-up, the programs, optimised and with cargo's options `features`, and then the recipe's with
/// `--prepare`.
pub fn run(root: &Path, recipe: &Path, features: &[&str], arguments: &[String]) -> Result<u8> {
    let name = program(root, recipe)?;
    ensure(root, Options::default())?;
    build(root, &[&["--release"], features].concat(), &["--example", &name])?;
    let program = target_folder()?.join("release/examples").join(name);
    start(command(program, root).arg(recipe).arg("--prepare").args(arguments))
}

/// The program that a recipe's folder is called after.
fn program(root: &Path, recipe: &Path) -> Result<String> {
    let folder = std::path::absolute(recipe).ok();
    let name = folder.as_deref().and_then(|path| path.parent()?.file_name()?.to_str());
    let name = name.with_context(|| format!("{}: not in a folder", recipe.display()))?;
    if !root.join("examples").join(name).join("main.rs").is_file() {
        bail!(
            "{}: no program is called {name}; start it with `cargo run --release -p examples \
             --example PROGRAM -- {} --prepare`",
            recipe.display(),
            recipe.display()
        );
    }
    Ok(name.to_owned())
}
