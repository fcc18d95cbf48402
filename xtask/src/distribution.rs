//! `cargo xtask wheel` and `cargo xtask tarball`: packages for users without a compiler.
//!
//! Both commands build optimised programs and write their packages to the folder `dist` of the
//! target folder. `.github/workflows/release.yml` runs them for a release.
mod licences;

use crate::files;
use crate::libtorch::VERSION as LIBTORCH;
use crate::peers::{self, FOLDER as PEERS};
use crate::process::{cargo, command, host_triple, read_stdout, run_checked, target_folder};
use crate::progress::format_bytes;
use crate::setup::{Options, ensure_libtorch};
use anyhow::{Context, Result, bail};
use licences::third_party_licences;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the Python packages, and the packages.
const PYTHON_PACKAGES: [&str; 2] = ["bindings/polyqa", "bindings/python"];

/// The package that contains the reader.
const WITH_READER: &str = "bindings/polyqa";

/// Folder of the reader, and its path in the wheel.
const READER: (&str, &str) = ("data/reader", "polyqa/reader");

/// The programs of the tarball, which are also the names of their packages.
const TOOLS: [&str; 5] = ["mlqa-eval", "kg-triples", "transfer-eval", "qa-translate", "qa-report"];

/// Features of the programs that are not defaults, because they increase build times.
const TOOL_FEATURES: &str = "mlqa-eval/parquet,qa-translate/https";

/// Name of the tarball without version and platform.
const TARBALL: &str = "polyqa-tools";

/// Files of the repository that the tarball contains.
const DOCUMENTS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"];

/// Name of the file with the licences of third-party crates.
const THIRD_PARTY: &str = "LICENSES-THIRD-PARTY.txt";

/// Variable that suppresses maturin's warning about another build backend, which is maturin with a
/// check.
pub const NO_BACKEND_WARNING: &str = "MATURIN_NO_MISSING_BUILD_BACKEND_WARNING";

const ADD_TO_WHEEL: &str = include_str!("distribution/add_to_wheel.py");

/// Builds the wheels of the Python packages, and adds licences and the reader.
pub fn build_wheels(root: &Path, out: Option<PathBuf>) -> Result<()> {
    let maturin = maturin(root)?;
    ensure_libtorch(root, Options::default())?;
    let (target, host) = (target_folder()?, host_triple(root)?);
    let out = root.join(out.unwrap_or_else(|| target.join("dist")));
    files::create_folder(&out)?;
    let mut built = Vec::new();
    for package in PYTHON_PACKAGES {
        let folder = root.join(package);
        // Each wheel is built into an empty folder, so that its name is known.
        let new = target.join("new-wheel");
        files::create_empty_folder(&new)?;
        let mut build = command(&maturin, root);
        build.args(["build", "--release", "--locked", "--compatibility", &platform_tag(root)?]);
        build.arg("--out").arg(&new).current_dir(&folder).env("CARGO_TARGET_DIR", &target);
        build.env(NO_BACKEND_WARNING, "1");
        run_checked(&mut build)?;
        let wheels = files::entries(&new)?;
        let [wheel] = wheels.as_slice() else {
            bail!("{}: expected one wheel, found {}", new.display(), wheels.len())
        };
        let name = wheel.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let crate_name = crate_name(&folder)?;
        let licences = new.join(THIRD_PARTY);
        files::write(&licences, &third_party_licences(root, &folder, &host, &[&crate_name])?)?;
        let mut additions =
            vec![(licences, format!("{}.dist-info/licenses/{THIRD_PARTY}", distribution(&name)?))];
        let reader = root.join(READER.0);
        if package == WITH_READER && reader.is_dir() {
            additions.push((reader, READER.1.to_owned()));
        }
        add_to_wheel(root, wheel, &additions)?;
        let path = out.join(&name);
        fs::rename(wheel, &path).with_context(|| format!("cannot write {}", path.display()))?;
        built.push((path, additions.len() > 1));
    }
    for (wheel, has_reader) in &built {
        let size = fs::metadata(wheel).with_context(|| wheel.display().to_string())?.len();
        let reader = if *has_reader { ", with the reader" } else { "" };
        println!("{} ({}{reader})", wheel.display(), format_bytes(size));
    }
    let (polyqa, has_reader) = &built[0];
    if !has_reader {
        println!("The program has no default reader, because {} does not exist.", READER.0);
    }
    println!("\nTo try it:\n{}", try_commands(polyqa));
    Ok(())
}

/// Returns commands that install a wheel into a new environment.
fn try_commands(wheel: &Path) -> String {
    format!(
        "  python3 -m venv polyqa-env\n  \
         polyqa-env/bin/pip install torch=={LIBTORCH} --index-url https://download.pytorch.org/whl/cpu\n  \
         polyqa-env/bin/pip install {}\n  \
         echo 'Lima is the capital of Peru.' | polyqa-env/bin/polyqa answer -q 'Wo liegt Lima?' -",
        wheel.display()
    )
}

/// Returns the program maturin: that of `.peers`, or the one in the PATH.
fn maturin(root: &Path) -> Result<PathBuf> {
    let candidates = [root.join(PEERS).join("bin/maturin"), PathBuf::from("maturin")];
    let mut found = candidates
        .into_iter()
        .filter(|path| read_stdout(command(path, root).arg("--version")).is_some());
    found.next().with_context(|| {
        format!(
            "maturin is missing: `pip install {}`, or `cargo xtask peers`",
            peers::maturin_pin()
        )
    })
}

/// Returns the platform tag for wheels that are built on this machine: glibc's version is the lowest
/// that the wheels are certain to run with.
fn platform_tag(root: &Path) -> Result<String> {
    let output = read_stdout(command("getconf", root).arg("GNU_LIBC_VERSION"));
    let output = output.context("wheels are built on Linux with glibc (`getconf` failed)")?;
    glibc_tag(&output).with_context(|| format!("unknown version of glibc: {output:?}"))
}

/// Converts `glibc 2.36` to maturin's name of the platform.
fn glibc_tag(output: &str) -> Option<String> {
    let (major, minor) = output.strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    (is_number(major) && is_number(minor)).then(|| format!("manylinux_{major}_{minor}"))
}

/// Returns the name of the package in a folder's `Cargo.toml`.
fn crate_name(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let manifest: toml::Table =
        files::read(&path)?.parse().with_context(|| path.display().to_string())?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    Ok(name.with_context(|| format!("{}: no package.name", path.display()))?.to_owned())
}

/// Returns name and version, the part of a wheel's file name that its folder `.dist-info` has too.
fn distribution(file_name: &str) -> Result<String> {
    let parts: Vec<&str> = file_name.splitn(3, '-').collect();
    match parts[..] {
        [name, version, _] => Ok(format!("{name}-{version}")),
        _ => bail!("{file_name}: not the name of a wheel"),
    }
}

/// Adds files, or the files of folders, to a wheel. The second part of an addition is its path in
/// the wheel.
fn add_to_wheel(root: &Path, wheel: &Path, additions: &[(PathBuf, String)]) -> Result<()> {
    let mut python = command("python3", root);
    python.args(["-c", ADD_TO_WHEEL]).arg(wheel);
    for (source, target) in additions {
        let mut argument = source.clone().into_os_string();
        argument.push("=");
        argument.push(target);
        python.arg(argument);
    }
    run_checked(&mut python)
}

/// Builds the programs that need no libtorch, and packs them with licences.
pub fn build_tarball(root: &Path, out: Option<PathBuf>) -> Result<()> {
    let (target, host) = (target_folder()?, host_triple(root)?);
    let out = root.join(out.unwrap_or_else(|| target.join("dist")));
    let mut build = cargo(root);
    build.args(["build", "--release", "--locked", "--features", TOOL_FEATURES, "--target-dir"]);
    build.arg(&target).args(TOOLS.iter().flat_map(|name| ["--package", name, "--bin", name]));
    run_checked(&mut build)?;
    let name = format!("{TARBALL}-{}-{host}", env!("CARGO_PKG_VERSION"));
    let parent = target.join("new-tarball");
    files::create_empty_folder(&parent)?;
    let folder = parent.join(&name);
    files::create_folder(&folder.join("bin"))?;
    let copy = |from: PathBuf, to: PathBuf| {
        fs::copy(&from, &to)
            .map(drop)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    };
    for tool in TOOLS {
        copy(target.join("release").join(tool), folder.join("bin").join(tool))?;
    }
    for document in DOCUMENTS {
        copy(root.join(document), folder.join(document))?;
    }
    files::write(&folder.join("README.md"), &tarball_readme())?;
    let licences = third_party_licences(root, root, &host, &TOOLS)?;
    files::write(&folder.join(THIRD_PARTY), &licences)?;
    files::create_folder(&out)?;
    let path = out.join(format!("{name}.tar.gz"));
    // Constant order, owner and time: two builds of a commit differ only if their programs differ.
    let mut tar = command("tar", root);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go-w"]);
    tar.args(["--mtime=@0", "--use-compress-program=gzip -9n", "--create", "--file"]).arg(&path);
    run_checked(tar.arg("--directory").arg(&parent).arg(&name))?;
    let size = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    println!("{} ({})", path.display(), format_bytes(size));
    Ok(())
}

/// Returns the README of the tarball.
fn tarball_readme() -> String {
    let mut text = format!(
        "# {TARBALL} {}\n\nPrograms of polyqa that need no libtorch. They run on Linux with the build machine's \
         version of glibc or a newer one.\n\n| program | purpose |\n|---|---|\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, purpose) in TOOLS.into_iter().zip(PURPOSES) {
        text += &format!("| `bin/{name}` | {purpose} |\n");
    }
    text + "\n`PROGRAM --help` has examples. `PROGRAM completions SHELL` prints shell completions. Documentation: \
            https://github.com/polyqa/polyqa\n"
}

/// The purposes of [`TOOLS`].
const PURPOSES: [&str; 5] = [
    "scores of MLQA, XQuAD and SQuAD; matrices, windows, answers from logits",
    "Wikidata dumps, knowledge triples and linked text as training data",
    "evaluation of NER, XNLI, relations, LAMA, retrieval and names of entities",
    "translation of question files and tagged sentences with their answers",
    "HTML reports that compare runs",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn platform_tags_have_glibcs_version() {
        assert_eq!(glibc_tag("glibc 2.36").as_deref(), Some("manylinux_2_36"));
        assert_eq!(glibc_tag("glibc 2.28.9000").as_deref(), Some("manylinux_2_28"));
        for text in ["musl 1.2", "glibc 2", "glibc 2.x", ""] {
            assert_eq!(glibc_tag(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_wheels_name_starts_with_its_distribution() {
        let name = "mlqa_eval-0.1.0-cp39-abi3-manylinux_2_36_x86_64.whl";
        assert_eq!(distribution(name).unwrap(), "mlqa_eval-0.1.0");
        assert!(distribution("polyqa.whl").unwrap_err().to_string().contains("not the name"));
    }

    #[test]
    fn the_packages_exist() {
        let root = crate::process::workspace_root().unwrap();
        let names = PYTHON_PACKAGES.map(|package| crate_name(&root.join(package)).unwrap());
        assert_eq!(names[0], "polyqa-python");
        for name in TOOLS {
            assert!(root.join("crates").join(name).join("Cargo.toml").is_file(), "{name}");
            assert!(tarball_readme().contains(&format!("`bin/{name}`")));
        }
    }

    /// A program that checks the digests and sizes in a wheel's RECORD, and prints the names of all
    /// files.
    const CHECK: &str = "
import base64, csv, hashlib, io, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
rows = list(csv.reader(io.StringIO(archive.read('x-1.dist-info/RECORD').decode())))
for name, digest, size in rows[:-1]:
    data = archive.read(name)
    expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
    assert (digest, size) == ('sha256=' + expected, str(len(data))), name
assert rows[-1] == ['x-1.dist-info/RECORD', '', '']
assert [row[0] for row in rows] == archive.namelist()
print(' '.join(archive.namelist()))
";

    #[test]
    fn added_files_are_recorded_in_the_wheel() {
        let folder = tempfile::tempdir().unwrap();
        let (root, wheel) = (folder.path(), folder.path().join("x-1-py3-none-any.whl"));
        let create = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
    archive.writestr('x-1.dist-info/RECORD', 'x-1.dist-info/RECORD,,\\n')
";
        run_checked(Command::new("python3").args(["-c", create]).arg(&wheel)).unwrap();
        fs::create_dir_all(root.join("reader/sub")).unwrap();
        for name in ["reader/b.txt", "reader/a, c.txt", "reader/sub/d", "licences"] {
            fs::write(root.join(name), name).unwrap();
        }
        let additions = [
            (root.join("licences"), "x-1.dist-info/licenses/L".to_owned()),
            (root.join("reader"), "x/reader".to_owned()),
        ];
        add_to_wheel(root, &wheel, &additions).unwrap();
        let names = read_stdout(Command::new("python3").args(["-c", CHECK]).arg(&wheel));
        let expected = "x-1.dist-info/licenses/L x/reader/a, c.txt x/reader/b.txt x/reader/sub/d \
                        x-1.dist-info/RECORD";
        assert_eq!(names.as_deref(), Some(expected));
        assert!(add_to_wheel(root, &wheel, &additions).is_err(), "the files exist");
    }
}
