//! Settings from environment variables, with the rules of huggingface_hub.
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "fetch")]
use std::time::Duration;

use crate::error::{Error, Result};

/// Settings for the cache and for downloads.
#[cfg_attr(
    not(feature = "fetch"),
    expect(dead_code, reason = "some fields are only used by downloads")
)]
pub(crate) struct Settings {
    cache: Option<PathBuf>,
    /// The address of the server, without a trailing slash.
    pub(crate) endpoint: String,
    pub(crate) token: Option<String>,
    pub(crate) is_offline: bool,
    /// Maximum time without data from the server, in seconds; `None` for the default.
    pub(crate) timeout: Option<String>,
}

impl Settings {
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text_of = |name: &str| {
            let value = variable(name)?;
            Some(value.to_string_lossy().trim().to_owned()).filter(|value| !value.is_empty())
        };
        let user_folder = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
        let path_of = |name: &str| {
            let path = PathBuf::from(variable(name)?);
            match (path.strip_prefix("~"), &user_folder) {
                (Ok(relative), Some(user_folder)) => Some(user_folder.join(relative)),
                _ => Some(path),
            }
        };
        let hf_home = path_of("HF_HOME")
            .or_else(|| Some(path_of("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(user_folder.as_ref()?.join(".cache/huggingface")));
        let in_hf_home = |name: &str| hf_home.as_ref().map(|folder| folder.join(name));
        let token_file = path_of("HF_TOKEN_PATH").or_else(|| in_hf_home("token"));
        let stored_token = || first_line(&token_file?);
        let is_true = |value: String| {
            matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
        };
        Self {
            cache: path_of("HF_HUB_CACHE").or_else(|| in_hf_home("hub")),
            endpoint: text_of("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".to_owned())
                .trim_end_matches('/')
                .to_owned(),
            token: text_of("HF_TOKEN").or_else(stored_token),
            is_offline: text_of("HF_HUB_OFFLINE")
                .or_else(|| text_of("TRANSFORMERS_OFFLINE"))
                .is_some_and(is_true),
            timeout: text_of("HF_HUB_DOWNLOAD_TIMEOUT"),
        }
    }

    /// Returns the maximum time without data from the server.
    #[cfg(feature = "fetch")]
    pub(crate) fn timeout(&self) -> Result<Duration> {
        let Some(text) = &self.timeout else { return Ok(Duration::from_secs(30)) };
        match text.parse() {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(Error::Setting {
                variable: "HF_HUB_DOWNLOAD_TIMEOUT",
                problem: format!("expected a number of seconds from 1, got {text:?}"),
            }),
        }
    }

    /// Returns the cache folder, which contains the folders of all repositories.
    ///
    /// # Errors
    /// [`Error::Setting`] if neither `HF_HUB_CACHE` nor the home folder is set.
    pub(crate) fn cache(&self) -> Result<&Path> {
        self.cache.as_deref().ok_or_else(|| Error::Setting {
            variable: "HF_HUB_CACHE",
            problem: "is not set, and neither is HOME; set it to the folder for models".to_owned(),
        })
    }

    pub(crate) fn allows_downloads(&self) -> bool {
        cfg!(feature = "fetch") && !self.is_offline
    }
}

/// Returns the first line of a file, such as the token stored by `hf auth login`.
/// An unreadable file is no token, as in huggingface_hub: public models need none.
fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_timeout_is_an_error() {
        let timeout = |text: &str| {
            Settings::read(|name| (name == "HF_HUB_DOWNLOAD_TIMEOUT").then(|| text.into()))
                .timeout()
        };
        assert_eq!(timeout("7").unwrap(), Duration::from_secs(7));
        assert_eq!(timeout("").unwrap(), Duration::from_secs(30));
        for text in ["0", "-1", "10s"] {
            let error = timeout(text).unwrap_err().to_string();
            let expected = format!(
                "HF_HUB_DOWNLOAD_TIMEOUT: expected a number of seconds from 1, got {text:?}"
            );
            assert_eq!(error, expected);
        }
    }
}
