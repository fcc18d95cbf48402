//! Files that appear complete or not at all.
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::KgError;

/// A file under a temporary name in the target's folder, renamed by [`AtomicFile::finish`]; dropped before, it vanishes.
pub(crate) struct AtomicFile {
    path: PathBuf,
    buffer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a file for `path`; folders on the way are created.
    pub(crate) fn create(path: &Path) -> Result<Self, KgError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(KgError::io(folder, "create the folder"))?;
        if path.is_dir() {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(KgError::io(path, "write the file")(source));
        }
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As for any new file: the umask takes away from this.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder
            .prefix(".kg-triples-")
            .tempfile_in(folder)
            .map_err(KgError::io(folder, "write into the folder"))?;
        Ok(Self { path: path.to_owned(), buffer: BufWriter::with_capacity(1 << 16, file) })
    }

    /// Writes everything through to the disk; the file still has its temporary name.
    pub(crate) fn sync(self) -> Result<SyncedFile, KgError> {
        let Self { path, buffer } = self;
        let file = buffer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.as_file().sync_all().map(|()| file))
            .map_err(KgError::io(&path, "write the file"))?;
        Ok(SyncedFile { path, file })
    }

    /// Writes everything through to the disk and gives the file its name.
    pub(crate) fn finish(self) -> Result<(), KgError> {
        self.sync()?.publish()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }
}

/// A complete file that only lacks its name, so that several can be published together.
pub(crate) struct SyncedFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl SyncedFile {
    /// Renames the file to its own name, replacing what was there.
    pub(crate) fn publish(self) -> Result<(), KgError> {
        let action = "move the finished file to its name";
        self.file
            .persist(&self.path)
            .map_err(|error| KgError::io(&self.path, action)(error.error))?;
        Ok(())
    }
}
