//! `cargo xtask gpu-bundle`: a folder that checks the programs on a machine with a GPU and without
//! Rust.
//!
//! It holds stripped programs, the data that their small recipes read, stored outputs, and one
//! script, `run.sh`, that runs every check of docs/gpu.md and writes a dated table.
use crate::process::{cargo, command, run, target_folder};
use crate::setup::FOLDER as LIBTORCH;
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::path::{Path, PathBuf};

/// What the bundle may weigh, its programs packed.
const LIMIT: u64 = 64 << 20;

/// Programs of `examples` that the checks start, where the workspace has them.
const PROGRAMS: [&str; 5] =
    ["bridging-gap", "xlm-k", "mixmrc-lakm", "good-to-best", "question-answering"];

/// What the programs read, beside their recipes.
const DATA: [&str; 7] = [
    "data/base",
    "data/demo",
    "data/codex",
    "data/mini-kg",
    "data/pud",
    "data/xquad",
    "crates/testkit/fixtures/hf",
];

const RUN: &str = include_str!("gpu_bundle/run.sh");
const CHECKS: &str = include_str!("gpu_bundle/checks.py");
/// The peer of the encoder's step.
const PEER: &str = include_str!("../../benches/encoder_peer.py");

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the bundle goes.
    pub out: Option<PathBuf>,
    /// Run its script here, on the CPU.
    pub cpu: bool,
    /// Unoptimised programs, which are there after the tests; no limit on their size.
    pub dev: bool,
}

/// Makes the bundle; with `cpu` runs it here and returns the script's exit code.
pub fn gpu_bundle(root: &Path, options: &Options) -> Result<u8> {
    let target = target_folder()?;
    let bundle = options.out.clone().unwrap_or_else(|| target.join("gpu-bundle"));
    let programs: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|name| root.join("examples").join(name).join("main.rs").is_file())
        .collect();
    let mut build = cargo(root);
    // The whole workspace: another choice of packages would build libtorch's bindings again.
    build.args(["build", "--workspace", "--bin", "xlmr-model", "--bin", "encoder"]);
    programs.iter().for_each(|name| {
        build.args(["--example", name]);
    });
    if !options.dev {
        build.arg("--release");
    }
    let code = run(&mut build)?;
    if code != 0 {
        return Ok(code);
    }
    let built = target.join(if options.dev { "debug" } else { "release" });
    assemble(root, &built, &programs, &bundle, !options.dev)?;
    let size = size(&bundle)?;
    if size > LIMIT && !options.dev {
        bail!("{} weighs {size} bytes, more than {LIMIT}", bundle.display());
    }
    println!("{}: {:.1} MiB", bundle.display(), size as f64 / f64::from(1 << 20));
    if !options.cpu {
        println!("copy it to the machine with the GPU and start ./run.sh there");
        return Ok(0);
    }
    let mut script = command(bundle.join("run.sh"), root);
    // Cargo sets the variable for what it starts, so that a user's own cannot be told apart.
    script.env("LD_LIBRARY_PATH", root.join(LIBTORCH).join("torch/lib"));
    run(script.arg("--cpu"))
}

/// Puts the bundle together; `packed` programs are gzip files, which `run.sh` unpacks.
fn assemble(
    root: &Path,
    built: &Path,
    programs: &[&str],
    bundle: &Path,
    packed: bool,
) -> Result<()> {
    if bundle.exists() {
        if !bundle.join("checks.py").is_file() {
            bail!("{} holds something else; --out names another folder", bundle.display());
        }
        fs::remove_dir_all(bundle).with_context(|| bundle.display().to_string())?;
    }
    let program = if packed { pack } else { copy };
    for name in ["xlmr-model", "encoder"] {
        program(&built.join(name), &bundle.join("bin").join(name))?;
    }
    for name in programs {
        program(&built.join("examples").join(name), &bundle.join("bin").join(name))?;
        let recipe = Path::new("examples").join(name).join("small.toml");
        if root.join(&recipe).is_file() {
            copy(&root.join(&recipe), &bundle.join(&recipe))?;
        }
    }
    for data in DATA {
        let to = data.replace("crates/testkit/fixtures", "fixtures");
        copy(&root.join(data), &bundle.join(to))?;
    }
    write(&bundle.join("checks.py"), CHECKS)?;
    write(&bundle.join("encoder_peer.py"), PEER)?;
    write(&bundle.join("run.sh"), RUN)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = bundle.join("run.sh");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// A file, or a folder with all that it holds.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        let entries = fs::read_dir(from).with_context(|| from.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// A file as `<to>.gz`.
fn pack(from: &Path, to: &Path) -> Result<()> {
    let to = PathBuf::from(format!("{}.gz", to.display()));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut input = fs::File::open(from).with_context(|| from.display().to_string())?;
    let output = fs::File::create(&to).with_context(|| to.display().to_string())?;
    let mut gzip = GzEncoder::new(output, Compression::default());
    std::io::copy(&mut input, &mut gzip).with_context(|| to.display().to_string())?;
    gzip.finish().with_context(|| to.display().to_string())?;
    Ok(())
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
    }

    #[test]
    fn a_bundle_holds_programs_recipes_data_and_the_script() {
        let folder = tempfile::tempdir().unwrap();
        let (built, bundle) = (folder.path().join("built"), folder.path().join("bundle"));
        fs::create_dir_all(built.join("examples")).unwrap();
        for file in ["xlmr-model", "encoder", "examples/xlm-k"] {
            fs::write(built.join(file), "program").unwrap();
        }
        for _ in 0..2 {
            assemble(&root(), &built, &["xlm-k"], &bundle, false).unwrap();
        }
        for file in [
            "run.sh",
            "checks.py",
            "encoder_peer.py",
            "bin/xlmr-model",
            "bin/encoder",
            "bin/xlm-k",
            "examples/xlm-k/small.toml",
            "data/base/model.safetensors",
            "fixtures/hf/qa/outputs.safetensors",
        ] {
            assert!(bundle.join(file).is_file(), "{file}");
        }
        // Programs of ten megabytes each leave this much for data.
        assert!(size(&bundle).unwrap() < LIMIT / 3);
        // Packed, the same programs.
        assemble(&root(), &built, &["xlm-k"], &bundle, true).unwrap();
        assert!(!bundle.join("bin/xlm-k").exists());
        let packed = fs::File::open(bundle.join("bin/xlm-k.gz")).unwrap();
        let program = std::io::read_to_string(flate2::read::GzDecoder::new(packed)).unwrap();
        assert_eq!(program, "program");
        // A folder that holds something else is left alone.
        fs::remove_file(bundle.join("checks.py")).unwrap();
        assert!(assemble(&root(), &built, &["xlm-k"], &bundle, false).is_err());
    }

    #[test]
    fn the_recipes_data_is_in_the_bundle() {
        for name in PROGRAMS {
            let Ok(text) =
                fs::read_to_string(root().join("examples").join(name).join("small.toml"))
            else {
                continue;
            };
            for path in text.split('"').filter(|word| word.starts_with("data/")) {
                assert!(
                    DATA.iter().any(|data| Path::new(path).starts_with(data)),
                    "{name} reads {path}"
                );
            }
        }
    }
}
