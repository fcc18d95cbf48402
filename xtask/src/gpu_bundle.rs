//! `cargo xtask gpu-bundle`: creates a folder for checking the programs on a GPU machine without
//! Rust.
//!
//! The folder contains stripped programs, the data of their small recipes, stored outputs for
//! comparison, and the script `run.sh`, which runs every check of docs/results/gpu.md and writes a
//! dated table. The folder is also packed into an archive.
use crate::builds::{BUILD_LIBTORCH, BUILD_LIBTORCH_FREE};
use crate::files;
use crate::pretrained;
use crate::process::{cargo, command, run_checked, target_folder};
use crate::setup::FOLDER as LIBTORCH;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum size of the archive in bytes, and of the archive with the encoder. Both can be sent to a
/// machine that accepts 64 MiB.
const MAX_ARCHIVE_SIZES: [u64; 2] = [32 << 20, 62 << 20];

/// Programs that the checks run, except the programs of the package `examples`.
const BINARIES: [&str; 6] =
    ["demo-data", "kg-triples", "polyqa", "xlmr-model", "encoder", "losses"];

/// Programs of the package `examples` that the checks and `recipes.py` run, if the workspace
/// contains them.
const RECIPE_PROGRAMS: [&str; 8] = [
    "bridging-gap",
    "xlm-k",
    "mixmrc-lakm",
    "good-to-best",
    "filter",
    "entity-cs",
    "knowledge-adapters",
    "sentence-retrieval",
];

/// Folder of the encoder in the bundle, for `recipes.py`.
const ENCODER: &str = "encoder";

/// Data folders that the programs read.
const DATA_FOLDERS: [&str; 8] = [
    "data/base",
    "data/demo",
    "data/codex",
    "data/mini-kg",
    "data/pud",
    "data/wikidata-facts",
    "data/xquad",
    "crates/testkit/fixtures/hf",
];

const PACK_SCRIPT: &str = include_str!("gpu_bundle/pack.py");
const RUN_SCRIPT: &str = include_str!("gpu_bundle/run.sh");

/// Scripts and sources of the checks by file name. `encoder_peer.py` is the baseline for a training
/// step of the encoder.
const SCRIPTS: [(&str, &str); 5] = [
    ("checks.py", include_str!("gpu_bundle/checks.py")),
    ("recipes.py", include_str!("gpu_bundle/recipes.py")),
    ("nccl.cpp", include_str!("gpu_bundle/nccl.cpp")),
    ("encoder_peer.py", include_str!("../../benches/encoder_peer.py")),
    ("run.sh", RUN_SCRIPT),
];

/// Files, and a folder with files, in torch-ext's folder `src/shim`. The NCCL check compiles them
/// in addition to `nccl.cpp`.
const SHIM_FILES: [&str; 3] = ["distributed.cpp", "guard.h", "gloo"];

/// Options of the command.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Output folder; the default is `gpu-bundle` in the target folder.
    pub out: Option<PathBuf>,
    /// Also run the script on the CPU of this machine.
    pub cpu: bool,
    /// Use the unoptimised programs that the tests build, and create no archive.
    pub dev: bool,
    /// Add the pretrained encoder with its masked-LM head.
    pub encoder: bool,
}

/// Creates the bundle, and runs its script if `cpu` is set.
pub fn create_bundle(root: &Path, options: &Options) -> Result<()> {
    let target = target_folder()?;
    let bundle = options.out.clone().unwrap_or_else(|| target.join("gpu-bundle"));
    let programs: Vec<&str> = RECIPE_PROGRAMS
        .into_iter()
        .filter(|name| root.join("examples").join(name).join("main.rs").is_file())
        .collect();
    for arguments in build_arguments(options.dev, &programs) {
        run_checked(cargo(root).args(arguments))?;
    }
    let program_folder = target.join(if options.dev { "debug" } else { "release" });
    assemble(root, &program_folder, &programs, &bundle)?;
    if options.encoder {
        add_encoder(root, &bundle)?;
    }
    println!("{}", bundle.display());
    if !options.dev {
        pack(root, &bundle, MAX_ARCHIVE_SIZES[usize::from(options.encoder)])?;
    }
    if !options.cpu {
        return Ok(());
    }
    let mut script = command(bundle.join("run.sh"), root);
    script.env("LIBTORCH", root.join(LIBTORCH).join("torch"));
    run_checked(script.arg("--cpu"))
}

/// Returns cargo's arguments for building the programs. If `dev` is set, returns the arguments that
/// build the tests of `cargo xtask test`, and with them unoptimised programs.
fn build_arguments<'a>(dev: bool, programs: &[&'a str]) -> Vec<Vec<&'a str>> {
    if dev {
        return vec![BUILD_LIBTORCH_FREE.to_vec(), BUILD_LIBTORCH.to_vec()];
    }
    // Building only some packages would enable other features, and rebuild libtorch's bindings.
    let mut build = vec!["build", "--workspace", "--release"];
    build.extend(BINARIES.iter().flat_map(|name| ["--bin", name]));
    build.extend(programs.iter().flat_map(|name| ["--example", name]));
    vec![build]
}

/// Adds the encoder in 4 bits, which changes no value.
fn add_encoder(root: &Path, bundle: &Path) -> Result<()> {
    let mut quantize = command(bundle.join("bin/xlmr-model"), root);
    quantize.env("LD_LIBRARY_PATH", root.join(LIBTORCH).join("torch/lib"));
    quantize.args(["quantize", "--lossless", "--model", pretrained::MASKED_LM, "--out"]);
    run_checked(quantize.arg(bundle.join(ENCODER)))
}

/// Packs the bundle into an archive of at most `max_size` bytes next to it.
fn pack(root: &Path, bundle: &Path, max_size: u64) -> Result<()> {
    let archive = PathBuf::from(format!("{}.tar.xz", bundle.display()));
    let mut python = command("python3", root);
    run_checked(python.args(["-c", PACK_SCRIPT]).arg(bundle).arg(&archive))?;
    let size = fs::metadata(&archive).with_context(|| archive.display().to_string())?.len();
    if size > max_size {
        bail!("{}: {size} bytes, expected at most {max_size}", archive.display());
    }
    println!("{}: {:.1} MiB", archive.display(), size as f64 / f64::from(1 << 20));
    println!("copy the archive to the GPU machine, and run there:");
    println!("  python3 -m tarfile -e gpu-bundle.tar.xz . && gpu-bundle/run.sh");
    Ok(())
}

/// Creates the folder `bundle` with all files; replaces an earlier bundle at this path.
fn assemble(root: &Path, program_folder: &Path, programs: &[&str], bundle: &Path) -> Result<()> {
    if bundle.exists() {
        if !bundle.join("checks.py").is_file() {
            bail!("{} has other contents; select another folder with --out", bundle.display());
        }
        files::remove_folder(bundle)?;
    }
    for name in BINARIES {
        copy(&program_folder.join(name), &bundle.join("bin").join(name))?;
    }
    for name in programs {
        copy(&program_folder.join("examples").join(name), &bundle.join("bin").join(name))?;
        for file in ["recipe.toml", "small.toml", "pretrained.toml"] {
            let recipe = Path::new("examples").join(name).join(file);
            if root.join(&recipe).is_file() {
                copy(&root.join(&recipe), &bundle.join(&recipe))?;
            }
        }
    }
    for data in DATA_FOLDERS {
        let to = data.replace("crates/testkit/fixtures", "fixtures");
        copy(&root.join(data), &bundle.join(to))?;
    }
    for file in SHIM_FILES {
        copy(&root.join("crates/torch-ext/src/shim").join(file), &bundle.join("shim").join(file))?;
    }
    for (name, text) in SCRIPTS {
        files::write(&bundle.join(name), text)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = bundle.join("run.sh");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Copies a file, or a folder with its contents.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for path in files::entries(from)? {
            copy(&path, &to.join(path.file_name().expect("an entry has a name")))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        files::create_folder(folder)?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
    }

    /// Returns the size of all files below `folder` in bytes.
    fn folder_size(folder: &Path) -> Result<u64> {
        let mut total = 0;
        for path in files::entries(folder)? {
            total += if path.is_dir() { folder_size(&path)? } else { fs::metadata(&path)?.len() };
        }
        Ok(total)
    }

    #[test]
    fn a_bundle_contains_programs_recipes_data_and_the_script() {
        let folder = tempfile::tempdir().unwrap();
        let (program_folder, bundle) = (folder.path().join("built"), folder.path().join("bundle"));
        fs::create_dir_all(program_folder.join("examples")).unwrap();
        for file in BINARIES.into_iter().chain(["examples/xlm-k"]) {
            fs::write(program_folder.join(file), "program").unwrap();
        }
        for _ in 0..2 {
            assemble(&root(), &program_folder, &["xlm-k"], &bundle).unwrap();
        }
        for file in [
            "run.sh",
            "checks.py",
            "encoder_peer.py",
            "recipes.py",
            "nccl.cpp",
            "shim/guard.h",
            "bin/xlmr-model",
            "bin/encoder",
            "bin/xlm-k",
            "examples/xlm-k/small.toml",
            "examples/xlm-k/recipe.toml",
            "data/base/model.safetensors",
            "fixtures/hf/qa/outputs.safetensors",
        ] {
            assert!(bundle.join(file).is_file(), "{file}");
        }
        // The archive has the files of the bundle's folder, except the outputs of the checks.
        fs::create_dir(bundle.join("out")).unwrap();
        pack(&root(), &bundle, MAX_ARCHIVE_SIZES[0]).unwrap();
        let (archive, unpacked) =
            (folder.path().join("bundle.tar.xz"), folder.path().join("elsewhere"));
        let mut tar = command("python3", &root());
        tar.args(["-m", "tarfile", "-e"]).arg(archive).arg(&unpacked);
        run_checked(&mut tar).unwrap();
        let unpacked = unpacked.join("bundle");
        fs::remove_dir(bundle.join("out")).unwrap();
        assert_eq!(folder_size(&unpacked).unwrap(), folder_size(&bundle).unwrap());
        assert_eq!(fs::read(unpacked.join("bin/xlm-k")).unwrap(), b"program");
        assert!(!unpacked.join("out").exists());
        assert!(std::process::Command::new(unpacked.join("run.sh")).arg("--help").output().is_ok());
        // A folder with other contents is not replaced.
        fs::remove_file(bundle.join("checks.py")).unwrap();
        assert!(assemble(&root(), &program_folder, &["xlm-k"], &bundle).is_err());
    }

    /// Uses a `checks.py` that prints the library search path.
    #[test]
    fn libtorch_precedes_the_machines_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let (script, libtorch) = (folder.path().join("run.sh"), folder.path().join("libtorch"));
        fs::create_dir_all(libtorch.join("lib")).unwrap();
        fs::write(&script, RUN_SCRIPT).unwrap();
        let checks = "import os; print(os.environ['LD_LIBRARY_PATH'])";
        fs::write(folder.path().join("checks.py"), checks).unwrap();
        let run_script = |library_path: &str| {
            let mut bash = std::process::Command::new("bash");
            bash.arg(&script).env("LIBTORCH", &libtorch).env("LD_LIBRARY_PATH", library_path);
            bash.output().unwrap()
        };
        assert!(!run_script("/unrelated").status.success(), "no libtorch.so yet");
        let lib = libtorch.join("lib");
        fs::write(lib.join("libtorch.so"), "").unwrap();
        for (library_path, suffix) in [("", ""), ("/unrelated", ":/unrelated")] {
            let printed = String::from_utf8(run_script(library_path).stdout).unwrap();
            assert_eq!(printed.trim(), format!("{}{suffix}", lib.display()));
        }
    }

    #[test]
    fn the_recipes_data_is_in_the_bundle() {
        let recipes = |name| ["small.toml", "pretrained.toml"].map(|file| format!("{name}/{file}"));
        for name in RECIPE_PROGRAMS.into_iter().flat_map(recipes) {
            let Ok(text) = fs::read_to_string(root().join("examples").join(&name)) else {
                continue;
            };
            let words = text.split(|c: char| c == '"' || c.is_whitespace());
            for path in words.filter(|word| word.starts_with("data/")) {
                assert!(
                    DATA_FOLDERS.iter().any(|data| Path::new(path).starts_with(data)),
                    "{name} reads {path}"
                );
            }
        }
    }
}
