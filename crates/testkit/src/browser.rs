//! Pages as a browser has them.
use std::path::PathBuf;
use std::process::Command;

/// Debian's name, and others'.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Headless Chromium where it is in PATH, or a line that says that the test is skipped.
pub fn chromium() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let mut places = NAMES.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no chromium in PATH, so no page was looked at");
    }
    found
}

/// A page after its scripts have run, as HTML; `None` where [`chromium`] is not there.
pub fn dom(url: &str, width: u32) -> Option<String> {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(chromium()?);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
    command.arg("--disable-dev-shm-usage");
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={width},900"));
    let output = command.args(["--virtual-time-budget=5000", "--dump-dom", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
