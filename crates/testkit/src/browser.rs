//! Loads pages in headless Chromium.
use std::path::PathBuf;
use std::process::Command;

/// Names of the Chromium executable; Debian's name is first.
const EXECUTABLES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser: the path of Chromium, which is run in headless mode.
pub struct Browser(PathBuf);

impl Browser {
    /// Returns the browser in `PATH`. If there is no browser, prints that the test is skipped and
    /// returns `None`.
    pub fn find() -> Option<Self> {
        let paths = std::env::var_os("PATH").expect("PATH is set");
        let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
        let mut candidates =
            EXECUTABLES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let executable = candidates.find(|path| path.is_file());
        if executable.is_none() {
            eprintln!("skipped: a check of HTML pages requires chromium in PATH");
        }
        executable.map(Self)
    }

    /// Loads `url` in a window of `width` pixels, and returns the HTML after its scripts have run.
    pub fn load_dom(&self, url: &str, width: u32) -> String {
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
