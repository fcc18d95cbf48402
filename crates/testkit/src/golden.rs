//! Named tensors that were computed by a reference implementation.
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Index;
use std::path::Path;

/// The tensors of a file, by their names.
pub struct Golden<T> {
    tensors: BTreeMap<String, T>,
}

impl<T> Golden<T> {
    /// Reads the file `path` with `read`, for example `Tensor::read_safetensors`. Panics with the
    /// path if the file cannot be read.
    pub fn load<'a, E: Display>(
        path: &'a Path,
        read: impl FnOnce(&'a Path) -> Result<Vec<(String, T)>, E>,
    ) -> Self {
        let tensors = read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { tensors: tensors.into_iter().collect() }
    }

    /// Returns the tensor `name`, or `None` if the file does not contain it.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.tensors.get(name)
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

impl<T> Index<&str> for Golden<T> {
    type Output = T;

    fn index(&self, name: &str) -> &T {
        self.get(name).unwrap_or_else(|| panic!("no golden tensor called {name}"))
    }
}
