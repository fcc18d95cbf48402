//! Printing of results for the user.
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The destination of a command's results for the user, such as scores and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOutput {
    /// Standard output.
    Stdout,
    /// Standard error, because standard output contains data.
    Stderr,
}

impl TextOutput {
    /// Returns the destination for a command that writes data to the files `outputs`: standard
    /// error if one of them is standard output, such as `-`.
    pub fn next_to(outputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        match outputs.into_iter().any(|path| atomic_file::is_stdout(path.as_ref())) {
            true => Self::Stderr,
            false => Self::Stdout,
        }
    }

    /// Returns the locked stream.
    pub fn writer(self) -> Box<dyn Write> {
        match self {
            Self::Stdout => Box::new(io::stdout().lock()),
            Self::Stderr => Box::new(io::stderr().lock()),
        }
    }

    /// Prints a text; a closed pipe (`| head`) is not an error.
    ///
    /// # Errors
    /// If the text cannot be written.
    pub fn print(self, text: &str) -> io::Result<()> {
        let mut out = self.writer();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}
