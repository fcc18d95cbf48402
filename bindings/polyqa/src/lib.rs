//! The extension module of the Python package `polyqa`: the reader, collections and the program of
//! the crate `polyqa`.
//!
//! The module converts arguments to the crate's types, calls the crate without the interpreter's
//! lock, and converts results to Python objects. `python/polyqa/__init__.py` imports torch first,
//! because this module is linked to torch's libtorch.
mod arguments;
mod collection;
mod reader;
mod signals;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use pyo3::prelude::*;

#[pymodule(name = "_polyqa")]
mod module {
    #[pymodule_export]
    use crate::collection::Collection;
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
fn program(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let package = package_folder(py)?;
    let code = py.detach(|| polyqa::program::main(arguments, package.as_deref()));
    Ok((0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(u8::MAX))
}

/// Returns the folder of the Python package, which may contain the default reader.
fn package_folder(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    let file: PathBuf = py.import("polyqa")?.getattr("__file__")?.extract()?;
    Ok(file.parent().map(PathBuf::from))
}
