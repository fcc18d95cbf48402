//! A wheel of the Python package index, pinned by its checksum.

/// A pinned wheel of the Python package index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// Project name on the index.
    pub name: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// The compatibility tags: the part of the file name between `<name>-<version>-` and `.whl`.
    /// The Python version in the tags is irrelevant, because the wheel's Python code is not used.
    pub tags: &'static str,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Whether the CPU set includes the wheel. It includes the wheels of libcudart and libcupti,
    /// because libtorch_cpu.so links to these libraries.
    pub cpu: bool,
}

impl Wheel {
    /// Returns the file name on the index.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.whl", self.name.replace('-', "_"), self.version, self.tags)
    }
}

/// Creates a wheel that is not part of libtorch's CPU set.
pub const fn wheel(
    name: &'static str,
    version: &'static str,
    tags: &'static str,
    size: u64,
    sha256: &'static str,
) -> Wheel {
    Wheel { name, version, tags, size, sha256, cpu: false }
}
