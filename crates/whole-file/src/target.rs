//! What a path to write to stands for.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Links that are followed before a circle is assumed.
const MOST_LINKS: usize = 40;

/// Where bytes for a path go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A regular file or a folder, or nothing yet: this path, its links followed.
    File(PathBuf),
    /// A pipe or a device, which is written as it is.
    Stream,
    /// Standard output.
    Stdout,
}

impl Target {
    /// Looks at `path`, following symbolic links.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let mut target = path.to_owned();
        for _ in 0..MOST_LINKS {
            // A link to an open file leads to where the file was, not to the file.
            match descriptor(&target) {
                Some("1") => return Ok(Self::Stdout),
                Some(_) => return Ok(Self::Stream),
                None => (),
            }
            match fs::symlink_metadata(&target) {
                Ok(data) if data.is_symlink() => {
                    let next = fs::read_link(&target)?;
                    target = target.parent().map_or_else(|| next.clone(), |at| at.join(&next));
                }
                Ok(data) if !data.is_file() && !data.is_dir() => return Ok(Self::Stream),
                _ => return Ok(Self::File(target)),
            }
        }
        Err(io::Error::other("too many symbolic links, perhaps in a circle"))
    }
}

/// The number of the open file of this process that `path` names.
fn descriptor(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let process = format!("/proc/{}/fd/", std::process::id());
    match text {
        "/dev/stdout" => Some("1"),
        "/dev/stderr" => Some("2"),
        _ => ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", process.as_str()]
            .iter()
            .find_map(|folder| text.strip_prefix(folder)),
    }
}
