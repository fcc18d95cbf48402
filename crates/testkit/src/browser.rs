//! Loads pages in headless Chromium.
use std::path::PathBuf;
use std::process::Command;

/// Names of the Chromium executable, Debian's first.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Headless Chromium.
pub struct Browser(PathBuf);

impl Browser {
    /// Finds the browser in PATH; otherwise prints that the test is skipped.
    pub fn found() -> Option<Self> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
        let mut places = NAMES.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
        let found = places.find(|place| place.is_file());
        if found.is_none() {
            eprintln!("skipped: there is no chromium in PATH, so no page was looked at");
        }
        found.map(Self)
    }

    /// Returns a page as HTML after its scripts have run.
    pub fn dom(&self, url: &str, width: u32) -> String {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(&self.0);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.arg("--disable-dev-shm-usage");
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("--window-size={width},900"));
        let output = command.args(["--virtual-time-budget=5000", "--dump-dom", url]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
