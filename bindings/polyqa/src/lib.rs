//! The extension module of the Python package `polyqa`: the reader and the program of the crate
//! `polyqa`.
//!
//! The module only converts: arguments become the crate's types, the crate is called without the
//! interpreter's lock, and results become Python objects. `python/polyqa/__init__.py` imports torch
//! first, because this module is linked to torch's libtorch.
mod arguments;
mod reader;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pymodule(name = "_polyqa")]
mod module {
    #[pymodule_export]
    use crate::program;
    #[pymodule_export]
    use crate::reader::Reader;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the program and returns its exit code. The first argument is the program's name.
///
/// `--help` and `--version` end the process.
#[pyfunction]
fn program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let code = py.detach(|| polyqa::program::main(arguments));
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(u8::MAX)
}

/// Converts an error to a Python exception with a one-line message: `OSError` or a subclass for
/// files that cannot be read, else `ValueError`.
fn py_error(error: &(dyn Error + 'static)) -> PyErr {
    let message = atomic_file::one_line(&error.to_string()).into_owned();
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    match causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => io::Error::new(cause.kind(), message).into(),
        None => PyValueError::new_err(message),
    }
}
