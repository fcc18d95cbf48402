//! Ends the build with instructions if libtorch is missing. `torch-sys` prints less information.
use std::path::Path;

#[path = "src/check.rs"]
mod check;

fn main() {
    println!("cargo::rerun-if-changed=src/check.rs");
    println!("cargo::rerun-if-changed=build.rs");
    for name in check::VARIABLES {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if std::env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        return;
    }
    let problem = check::problem(&|name| std::env::var_os(name), Path::new("/usr/lib/libtorch.so"));
    if let Some(problem) = problem {
        println!("cargo::error=libtorch {} was not found: {problem}", check::VERSION);
        for line in check::ADVICE {
            println!("cargo::error={line}");
        }
    }
}
