//! Writes integer tensors to safetensors files, and reads rows of float32 tensors in blocks.
use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use crate::Error;
use atomic_file::fs::File;
use ndarray::Array2;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, Metadata, TensorView};

/// An integer tensor in the byte layout of the file.
pub struct IntTensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl IntTensor {
    /// Creates a tensor of 32-bit integers.
    pub fn from_values(name: &'static str, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::I32, shape: vec![values.len()], bytes }
    }

    /// Creates a tensor of 32-bit integers `[rows, width]`; short rows are padded with `pad`.
    pub fn from_rows(name: &'static str, rows: &[Vec<u32>], width: usize, pad: u32) -> Self {
        let mut bytes = vec![0; 4 * rows.len() * width];
        bytes.par_chunks_mut(4 * width.max(1)).zip(rows).for_each(|(out, row)| {
            let values = row.iter().copied().chain(std::iter::repeat(pad));
            for (chunk, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *chunk = value.to_le_bytes();
            }
        });
        Self { name, dtype: Dtype::I32, shape: vec![rows.len(), width], bytes }
    }

    /// Creates a tensor of bytes `[rows, width]`: 1 where a row has a value, else 0.
    pub fn mask_of(name: &'static str, rows: &[Vec<u32>], width: usize) -> Self {
        let mut bytes = vec![0; rows.len() * width];
        bytes.par_chunks_mut(width.max(1)).zip(rows).for_each(|(out, row)| {
            out.iter_mut().zip(row).for_each(|(byte, _)| *byte = 1);
        });
        Self { name, dtype: Dtype::U8, shape: vec![rows.len(), width], bytes }
    }
}

/// Metadata key for the program whose windows the file contains: `mlqa-eval` or `run_qa`.
const WINDOWS_KEY: &str = "windows";

/// Writes the windows of `program` as tensors, atomically.
pub fn write_tensors(path: &Path, tensors: &[IntTensor], program: &str) -> Result<(), Error> {
    let content_error = |message: String| Error::Content { path: path.to_owned(), message };
    let views = tensors.iter().map(|tensor| {
        TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
            .map(|view| (tensor.name, view))
    });
    let views: Vec<_> =
        views.collect::<Result<_, _>>().map_err(|e| content_error(e.to_string()))?;
    let metadata = [(WINDOWS_KEY.to_owned(), program.to_owned())].into();
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| content_error(e.to_string()))?;
    Ok(atomic_file::write(path, bytes)?)
}

/// Sequential reader of a float32 matrix.
pub struct RowReader {
    path: PathBuf,
    name: &'static str,
    file: File,
    data_start: u64,
    rows_read: usize,
    /// Numbers of rows and columns.
    pub shape: [usize; 2],
    /// The value of the metadata key `windows`; `None` if it is absent.
    pub program: Option<String>,
}

impl RowReader {
    /// Opens a safetensors file and finds the tensor `name`.
    pub fn open(path: &Path, name: &'static str) -> Result<Self, Error> {
        let content_error = |message: String| Error::Content { path: path.to_owned(), message };
        let mut file = atomic_file::fs::open(path)?;
        atomic_file::report_opened(path);
        let file_size = file.metadata()?.len();
        let mut length = [0; 8];
        let header = file.read_exact(&mut length).ok().and_then(|()| {
            let length = u64::from_le_bytes(length);
            let bytes = file.read_up_to(length.min(file_size)).ok()?;
            serde_json::from_slice::<Metadata>(&bytes).ok().map(|header| (header, 8 + length))
        });
        let Some((header, data_section)) = header else {
            return Err(content_error("is not a safetensors file".into()));
        };
        let Some(info) = header.info(name) else {
            let message = format!("no tensor `{name}`; expected start_logits and end_logits");
            return Err(content_error(message));
        };
        let (Dtype::F32, &[rows, columns]) = (info.dtype, info.shape.as_slice()) else {
            let (dtype, shape) = (info.dtype, &info.shape);
            return Err(content_error(format!(
                "`{name}` is {dtype:?} {shape:?}; expected F32 [rows, length]"
            )));
        };
        let (from, to) = info.data_offsets;
        let [from, to] = [from, to].map(|at| data_section.saturating_add(at as u64));
        if to > file_size {
            return Err(content_error(format!(
                "the data of `{name}` are truncated; copy or create the file again"
            )));
        }
        let program =
            header.metadata().as_ref().and_then(|metadata| metadata.get(WINDOWS_KEY)).cloned();
        let (path, shape) = (path.to_owned(), [rows, columns]);
        Ok(Self { path, name, file, data_start: from, rows_read: 0, shape, program })
    }

    /// Reads the next `count` rows; `None` if fewer than `count` rows remain.
    pub fn read(&mut self, count: usize) -> Result<Option<Array2<f32>>, Error> {
        let [rows, columns] = self.shape;
        if count > rows - self.rows_read {
            return Ok(None);
        }
        let mut bytes = vec![0; 4 * count * columns];
        let offset = self.data_start + 4 * (self.rows_read * columns) as u64;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(&mut bytes)?;
        self.rows_read += count;
        let values =
            bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        Array2::from_shape_vec([count, columns], values).map(Some).map_err(|error| {
            let message = format!("`{}`: {error}", self.name);
            Error::Content { path: self.path.clone(), message }
        })
    }

    /// Number of unread rows.
    pub fn remaining_rows(&self) -> usize {
        self.shape[0] - self.rows_read
    }
}
