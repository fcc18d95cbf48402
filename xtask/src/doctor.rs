//! `cargo xtask doctor`: reports what is installed, what is missing and how to fix it.
use crate::libtorch::{VERSION, inspect};
use crate::process::{command, cxx, output, user_libtorch};
use crate::progress::bytes;
use crate::setup::{FOLDER, python_folder};
use crate::wheels::free_space;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Minimum free disk space in bytes for a full build: dev and release folders.
const BUILD_SPACE: u64 = 8_000_000_000;
/// Minimum memory in bytes for several concurrent C++ compilers.
const BUILD_MEMORY: u64 = 4_000_000_000;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// Missing, but optional.
    Note,
    /// Missing and required for builds.
    Missing,
}

struct Row {
    item: &'static str,
    state: State,
    found: String,
    advice: String,
}

fn row(
    item: &'static str,
    state: State,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Row {
    Row { item, state, found: found.into(), advice: advice.into() }
}

/// Prints the table; returns true if everything required is installed.
pub fn doctor(root: &Path) -> bool {
    let mut rows = toolchain(root);
    rows.push(compiler(root));
    rows.push(libtorch(root));
    rows.extend(library_path());
    rows.push(python(root, rows.iter().all(|row| row.state != State::Missing)));
    rows.push(driver());
    rows.push(disk(root));
    rows.push(machine());
    rows.push(deny(root));
    rows.push(encoder(root));
    rows.push(without_libtorch(&rows));
    print!("{}", table(&rows));
    let missing = rows.iter().filter(|row| row.state == State::Missing).count();
    match missing {
        0 => println!("\neverything required is installed"),
        1 => println!("\n1 requirement is missing"),
        _ => println!("\n{missing} requirements are missing"),
    }
    missing == 0
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.item.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mark = match row.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        text += &format!("{mark:<8} {:<width$}  {}\n", row.item, row.found);
        if !row.advice.is_empty() {
            text += &format!("{:8} {:width$}  -> {}\n", "", "", row.advice);
        }
    }
    text
}

fn toolchain(root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    let required = env!("CARGO_PKG_RUST_VERSION");
    rows.push(match output(command("rustc", root).arg("--version")) {
        Some(version) if older(&version, required) => row(
            "rustc",
            State::Missing,
            version,
            format!("Rust {required} or newer: `rustup update`"),
        ),
        Some(version) => row("rustc", State::Ok, version, ""),
        None => row("rustc", State::Missing, "not found", "install Rust: https://rustup.rs"),
    });
    rows.push(match output(crate::process::cargo(root).arg("--version")) {
        Some(version) => row("cargo", State::Ok, version, ""),
        None => row("cargo", State::Missing, "not found", "install Rust: https://rustup.rs"),
    });
    for (item, component) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        rows.push(match output(crate::process::cargo(root).args([component, "--version"])) {
            Some(version) => row(item, State::Ok, version, ""),
            None => row(
                item,
                State::Note,
                "not found; only `cargo xtask test` needs it",
                format!("rustup component add {item}"),
            ),
        });
    }
    rows
}

/// Returns whether `rustc --version` reports an older release than `required` (major.minor).
fn older(stated: &str, required: &str) -> bool {
    let numbers = |text: &str| -> Option<(u64, u64)> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    let stated = stated.split_whitespace().nth(1).and_then(numbers);
    matches!((stated, numbers(required)), (Some(stated), Some(required)) if stated < required)
}

fn compiler(root: &Path) -> Row {
    match cxx(root) {
        (_, Some(version)) => row("C++ compiler", State::Ok, version, ""),
        (name, None) => row(
            "C++ compiler",
            State::Missing,
            format!("`{name} --version` failed"),
            "Debian, Ubuntu: `sudo apt install g++`; Fedora: `sudo dnf install gcc-c++`",
        ),
    }
}

fn libtorch(root: &Path) -> Row {
    let user = user_libtorch(root);
    let set = user.is_some();
    let folder = user.unwrap_or_else(|| root.join(FOLDER).join("torch"));
    match inspect(&folder) {
        Ok(found) => {
            let kind = if found.cuda { "CUDA" } else { "CPU" };
            let by = if set { "LIBTORCH = " } else { "" };
            row(
                "libtorch",
                State::Ok,
                format!("{} ({kind} set), {by}{}", found.version, found.root.display()),
                if found.cuda { "" } else { "for a GPU: `cargo xtask setup --cuda`" },
            )
        }
        Err(problem) if set => row(
            "libtorch",
            State::Missing,
            format!("LIBTORCH is set: {problem}"),
            format!("unset LIBTORCH, or set it to a libtorch {VERSION}"),
        ),
        Err(problem) => {
            let force = if folder.exists() { " --force" } else { "" };
            let advice = format!("cargo xtask setup{force}");
            row("libtorch", State::Missing, problem.to_string(), advice)
        }
    }
}

/// Checks LD_LIBRARY_PATH: a libtorch there is loaded instead of the linked one.
fn library_path() -> Option<Row> {
    let path = std::env::var_os("LD_LIBRARY_PATH")?;
    let folder = std::env::split_paths(&path).find(|f| f.join("libtorch_cpu.so").is_file())?;
    Some(row(
        "LD_LIBRARY_PATH",
        State::Note,
        format!("{} has a libtorch, which is loaded first", folder.display()),
        "unset LD_LIBRARY_PATH, unless this is intended",
    ))
}

fn python(root: &Path, libtorch_is_there: bool) -> Row {
    let Some(version) = output(command("python3", root).arg("--version")) else {
        let state = if libtorch_is_there { State::Note } else { State::Missing };
        let found = "not found; only the download of libtorch needs it";
        return row("python3", state, found, "Debian, Ubuntu: `sudo apt install python3`");
    };
    let pip = output(command("python3", root).args(["-m", "pip", "--version"]));
    let pip = pip.and_then(|text| text.split_whitespace().nth(1).map(|v| format!("pip {v}")));
    let torch = python_folder(root).map_or_else(String::new, |folder| {
        let version = crate::libtorch::stated_version(&folder);
        format!(", torch {}", version.as_deref().unwrap_or("of unknown version"))
    });
    let pip = pip.unwrap_or_else(|| "no pip (not needed)".to_owned());
    row("python3", State::Ok, format!("{version}, {pip}{torch}"), "")
}

fn driver() -> Row {
    let mut query = Command::new("nvidia-smi");
    query.args(["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]);
    if let Some(devices) = output(&mut query).filter(|text| !text.is_empty()) {
        return row("NVIDIA driver", State::Ok, devices.replace('\n', "; "), "");
    }
    let module = Path::new("/proc/driver/nvidia/version").exists();
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib"]
        .iter()
        .map(|folder| PathBuf::from(folder).join("libcuda.so.1"))
        .find(|file| file.exists());
    match (module, library) {
        (false, None) => row("NVIDIA driver", State::Note, "none; all programs run on the CPU", ""),
        (true, None) => row(
            "NVIDIA driver",
            State::Note,
            "kernel module without libcuda.so.1",
            "in a container: start it with GPU access (`--gpus all`)",
        ),
        (_, Some(library)) => {
            row("NVIDIA driver", State::Ok, format!("{} (no nvidia-smi)", library.display()), "")
        }
    }
}

fn disk(root: &Path) -> Row {
    match free_space(root) {
        Some(free) if free < BUILD_SPACE => row(
            "disk space",
            State::Note,
            format!("{} free", bytes(free)),
            format!("setup and all builds need up to {}", bytes(BUILD_SPACE)),
        ),
        Some(free) => row("disk space", State::Ok, format!("{} free", bytes(free)), ""),
        None => row("disk space", State::Note, "unknown (`df -Pk .` failed)", ""),
    }
}

fn machine() -> Row {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_memory(&text));
    let Some(memory) = memory else {
        return row("machine", State::Ok, format!("{cores} cores"), "");
    };
    let found = format!("{cores} cores, {} memory", bytes(memory));
    if memory < BUILD_MEMORY {
        return row("machine", State::Note, found, "if a build is killed: CARGO_BUILD_JOBS=1");
    }
    row("machine", State::Ok, found, "")
}

/// Parses the memory size in bytes from /proc/meminfo.
fn parse_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Checks the pretrained encoder, which the reader and its tests use.
fn encoder(root: &Path) -> Row {
    let item = "pretrained encoder";
    match root.join(crate::pretrained::ENCODER).is_dir() {
        true => row(item, State::Ok, crate::pretrained::ENCODER, ""),
        false => row(item, State::Note, "not downloaded", "`cargo xtask pretrained` (95 MB)"),
    }
}

fn deny(root: &Path) -> Row {
    match output(crate::process::cargo(root).args(["deny", "--version"])) {
        Some(version) => row("cargo-deny", State::Ok, version, ""),
        None => row(
            "cargo-deny",
            State::Note,
            "not found; `cargo xtask test` skips licences and bans",
            "cargo install --locked cargo-deny",
        ),
    }
}

/// Checks the default workspace members, which need only Rust and a linker.
fn without_libtorch(rows: &[Row]) -> Row {
    let is_ok = |item| rows.iter().any(|row| row.item == item && row.state == State::Ok);
    let linker = output(Command::new("cc").arg("--version")).is_some();
    if is_ok("rustc") && is_ok("cargo") && linker {
        let found = "kg-triples, language, mlqa-eval, qa-report, qa-translate, transfer-eval and xtask build (plain `cargo build|test`)";
        return row("without libtorch", State::Ok, found, "");
    }
    let advice = if linker { "" } else { "install a C compiler, which Rust links with (`cc`)" };
    row(
        "without libtorch",
        State::Missing,
        "kg-triples, language, mlqa-eval, qa-report, qa-translate, transfer-eval and xtask cannot build",
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_releases_are_compared_by_number() {
        assert!(older("rustc 1.87.0 (x 2025-01-01)", "1.88"));
        assert!(older("rustc 1.9.0", "1.88"), "9 is before 88");
        for new in ["rustc 1.88.0", "rustc 1.100.1-nightly (x)", "rustc 2.0.0"] {
            assert!(!older(new, "1.88"), "{new}");
        }
        assert!(!older("something else", "1.88"), "unknown is not held against it");
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(parse_memory("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24_576 * 1024));
        assert_eq!(parse_memory("MemFree: 1 kB\n"), None);
    }
}
