//! Rows of stored arrays, of which only those that are wanted are read.
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::Array2;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::{Error, Result};

/// What the values are stored as, little-endian.
#[derive(Clone, Copy)]
pub(super) enum Element {
    F32,
    F64,
}

/// Where the rows of an array come from.
pub(super) struct Rows<'p> {
    pub path: &'p Path,
    pub element: Element,
    /// Rows and values of each.
    pub shape: [usize; 2],
    /// Bytes that the file has for them.
    pub bytes: u64,
}

impl Rows<'_> {
    /// The first rows, as float32.
    pub fn read(&self, file: &mut impl Read, first: usize) -> Result<Array2<f32>> {
        let ([rows, width], path) = (self.shape, self.path);
        let size = match self.element {
            Element::F32 => 4,
            Element::F64 => 8,
        };
        let needed = (rows as u64).checked_mul(width as u64).and_then(|n| n.checked_mul(size));
        if needed.is_none_or(|needed| needed > self.bytes) {
            let message = format!("ends early: shape {:?}, but {} bytes", self.shape, self.bytes);
            return Err(Error::content(path, message));
        }
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::UnexpectedEof => Error::content(path, "ends early"),
            _ => Error::read(path)(source),
        };
        let rows = rows.min(first);
        let mut values = Vec::with_capacity(rows * width);
        let mut row = vec![0; width * usize::try_from(size).unwrap_or(8)];
        for number in 1..=rows {
            file.read_exact(&mut row).map_err(failed)?;
            let start = values.len();
            match self.element {
                Element::F32 => {
                    values.extend(row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
                }
                Element::F64 => values
                    .extend(row.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            }
            if values.iter().skip(start).any(|value| !value.is_finite()) {
                let message = format!("row {number} has a value that is no finite float32");
                return Err(Error::content(path, message));
            }
        }
        Array2::from_shape_vec((rows, width), values)
            .map_err(|error| Error::content(path, error.to_string()))
    }
}

/// The longest header of a safetensors file, which is that format's own limit.
const HEADER: u64 = 100_000_000;

/// The first rows of the tensor `vectors`, or of the only one, `[N, D]` float32 or float64.
pub(super) fn read(path: &Path, first: usize) -> Result<Array2<f32>> {
    read_tensor(path, &[], first)
}

/// The same of the first of these tensors that is there.
pub(in crate::retrieval) fn read_tensor(
    path: &Path,
    names: &[&str],
    first: usize,
) -> Result<Array2<f32>> {
    let failed = Error::read(path);
    let damaged = |error: String| Error::content(path, format!("not a safetensors file: {error}"));
    let file = File::open(path).map_err(failed)?;
    whole_file::remember_input(path);
    let size = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged("it ends early".into()))?;
    let length = u64::from_le_bytes(length);
    if length > HEADER.min(size) {
        return Err(damaged(format!("a header of {length} bytes")));
    }
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header).map_err(failed)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let tensors = metadata.tensors();
    let only = (tensors.len() == 1).then(|| tensors.keys().next().map(String::as_str)).flatten();
    let there = names.iter().copied().find(|name| tensors.contains_key(*name));
    let name = there.or(names.first().copied()).or(only).unwrap_or("vectors");
    let Some(info) = tensors.get(name) else {
        let mut names: Vec<String> = tensors.keys().map(|name| format!("`{name}`")).collect();
        names.sort_unstable();
        let message = format!("no tensor `{name}`; it has {}", names.join(", "));
        return Err(Error::content(path, message));
    };
    let (shape, element) = match (&*info.shape, info.dtype) {
        (&[rows, width], Dtype::F32) => ([rows, width], Element::F32),
        (&[rows, width], Dtype::F64) => ([rows, width], Element::F64),
        (shape, dtype) => {
            let message = format!("`{name}` is {dtype:?} of shape {shape:?}");
            return Err(Error::content(path, format!("{message}; expected F32 or F64 [rows, D]")));
        }
    };
    let at = (length + 8).saturating_add(info.data_offsets.0 as u64);
    file.seek(SeekFrom::Start(at)).map_err(failed)?;
    Rows { path, element, shape, bytes: size.saturating_sub(at) }.read(&mut file, first)
}
