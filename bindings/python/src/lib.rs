//! The Python module `mlqa_eval`: the scorer, the windows and the decoder of the crate `mlqa-eval`,
//! with numpy arrays as inputs and outputs.
//!
//! Each function converts its arguments to the crate's types, calls the crate without the
//! interpreter's lock, and converts the result to Python objects.
mod answers;
mod arguments;
mod questions;
mod runs;
mod score;
mod tokenizer;
mod values;
mod windows;

use pyo3::prelude::*;

/// Evaluation of cross-lingual extractive question answering.
#[pymodule(name = "mlqa_eval")]
mod module {
    #[pymodule_export]
    use crate::answers::{decode, n_best, n_best_arrays};
    #[pymodule_export]
    use crate::runs::{compare, matrix};
    #[pymodule_export]
    use crate::score::{compute, score};
    #[pymodule_export]
    use crate::windows::{Windows, windows};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
