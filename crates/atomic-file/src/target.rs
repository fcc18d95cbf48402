//! Resolution of output paths.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Maximum number of symbolic links to follow; a longer chain is probably a cycle.
const MAX_LINKS: usize = 40;

/// A resolved output path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The resolved path of a regular file or folder, or of a file that does not exist yet.
    File(PathBuf),
    /// A pipe or a device, which is written directly.
    Stream,
    /// Standard output.
    Stdout,
}

impl Target {
    /// Resolves `path`, following symbolic links.
    pub(crate) fn resolve(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let mut target = path.to_owned();
        for _ in 0..MAX_LINKS {
            // A link in `/proc` to an open file contains a path that may now belong to another
            // file, so file descriptors are handled before links.
            match file_descriptor(&target) {
                Some("1") => return Ok(Self::Stdout),
                Some(_) => return Ok(Self::Stream),
                None => (),
            }
            match fs::symlink_metadata(&target) {
                Ok(meta) if meta.is_symlink() => {
                    let link = fs::read_link(&target)?;
                    target =
                        target.parent().map_or_else(|| link.clone(), |folder| folder.join(&link));
                }
                Ok(meta) if !meta.is_file() && !meta.is_dir() => return Ok(Self::Stream),
                _ => return Ok(Self::File(target)),
            }
        }
        Err(io::Error::other("too many symbolic links, probably a cycle"))
    }
}

/// Returns whether output to `path` is written to standard output: `-`, `/dev/stdout` and links to
/// it.
pub fn is_stdout(path: &Path) -> bool {
    // A path that cannot be resolved cannot be written either; creating the file returns the error.
    matches!(Target::resolve(path), Ok(Target::Stdout))
}

/// Returns the number of the file descriptor that `path` refers to, such as `1` for `/dev/stdout`;
/// `None` for other paths.
fn file_descriptor(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let descriptor_folder = format!("/proc/{}/fd/", std::process::id());
    match text {
        "/dev/stdout" => Some("1"),
        "/dev/stderr" => Some("2"),
        _ => ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/", descriptor_folder.as_str()]
            .iter()
            .find_map(|folder| text.strip_prefix(folder)),
    }
}
