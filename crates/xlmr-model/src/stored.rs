//! Safetensors files, read one tensor at a time after their header was checked against the file's size.
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorView};
use tch::{Device, Kind, Tensor};

use crate::files::write_through;
use crate::{Error, Result};

/// Longest header that is read, as in the safetensors crate.
const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file with a sound header.
#[derive(Debug)]
pub struct StoredFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    start: u64,
}

impl StoredFile {
    /// Opens a file and checks its header: sizes, shapes and offsets against each other and against the file's length.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] with the file and what is wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |error| Error::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < 8 {
            let reason = format!("{length} bytes long; a safetensors file has at least 8");
            return Err(Error::damaged(path, reason));
        }
        let mut size = [0u8; 8];
        file.read_exact(&mut size).map_err(io)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER || size > length - 8 {
            let reason = format!(
                "the header claims {size} bytes, the file has {length}; truncated, or not a safetensors file"
            );
            return Err(Error::damaged(path, reason));
        }
        let mut header = vec![0u8; usize::try_from(size).unwrap_or(0)];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| Error::damaged(path, format!("header: {error}")))?;
        let start = size + 8;
        let body = u64::try_from(metadata.data_len()).unwrap_or(u64::MAX);
        if start.checked_add(body) != Some(length) {
            let reason = format!(
                "the header describes {body} bytes of tensors, the file holds {}; truncated or padded",
                length - start
            );
            return Err(Error::damaged(path, reason));
        }
        Ok(Self { path: path.to_owned(), file, metadata, start })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// Whether the file holds a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The shape of a tensor, if the file holds it.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let info = self.metadata.info(name)?;
        info.shape.iter().map(|&size| i64::try_from(size).ok()).collect()
    }

    /// The stored dtype of a tensor (`F32`, `BF16`, …), if the file holds it.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.metadata.info(name).map(|info| info.dtype.to_string())
    }

    /// Reads one tensor as it is stored, on the CPU.
    ///
    /// # Errors
    /// [`Error::Stored`] if the file has no such tensor or stores it in a dtype that libtorch lacks; [`Error::Io`].
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let refuse = |expected: &str, got: String| Error::Stored {
            path: self.path.clone(),
            tensor: name.to_owned(),
            expected: expected.to_owned(),
            got,
        };
        let Some(info) = self.metadata.info(name) else {
            return Err(refuse("a tensor of this name", "none".into()));
        };
        let kind = match info.dtype {
            Dtype::BOOL => Kind::Bool,
            Dtype::U8 => Kind::Uint8,
            Dtype::I8 => Kind::Int8,
            Dtype::I16 => Kind::Int16,
            Dtype::I32 => Kind::Int,
            Dtype::I64 => Kind::Int64,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            other => return Err(refuse("a dtype that libtorch has", other.to_string())),
        };
        let shape: Vec<i64> =
            info.shape.iter().filter_map(|&size| i64::try_from(size).ok()).collect();
        let (from, to) = info.data_offsets;
        let at = u64::try_from(from).ok().and_then(|from| self.start.checked_add(from));
        let at = at.ok_or_else(|| refuse("an offset within the file", from.to_string()))?;
        let mut bytes = vec![0u8; to.saturating_sub(from)];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| Error::io(&self.path, error))?;
        Ok(Tensor::f_from_data_size(&bytes, &shape, kind)?)
    }

    /// Reads a weight of the expected shape, stored as F32, F16 or BF16, into float32.
    ///
    /// # Errors
    /// [`Error::Stored`] for another shape or dtype; as for [`StoredFile::read`].
    pub(crate) fn read_weight(&self, name: &str, shape: &[i64], device: Device) -> Result<Tensor> {
        let refuse = |expected: String, got: String| Error::Stored {
            path: self.path.clone(),
            tensor: name.to_owned(),
            expected,
            got,
        };
        if let Some(got) = self.shape(name)
            && got != shape
        {
            let expected = format!("shape {shape:?} as config.json says");
            return Err(refuse(expected, format!("{got:?}")));
        }
        if let Some(dtype) = self.dtype(name)
            && !matches!(dtype.as_str(), "F32" | "F16" | "BF16")
        {
            return Err(refuse("dtype F32, F16 or BF16".into(), dtype));
        }
        Ok(self.read(name)?.f_to_device(device)?.f_to_kind(Kind::Float)?)
    }
}

/// Writes float32 tensors as a safetensors file with transformers' metadata (`format` = `pt`), atomically.
///
/// Floating-point tensors of another kind are converted.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written; [`Error::Damaged`] if the format refuses a tensor; [`Error::Torch`].
pub fn write_tensors(path: impl AsRef<Path>, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let path = path.as_ref();
    let refuse = |error: safetensors::SafeTensorError| Error::damaged(path, error.to_string());
    let mut bytes = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let plain = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?;
        let plain = plain.f_contiguous()?;
        let mut data = vec![0u8; plain.numel() * size_of::<f32>()];
        plain.f_copy_data_u8(&mut data, plain.numel())?;
        let shape: Vec<usize> =
            plain.size().iter().filter_map(|&size| usize::try_from(size).ok()).collect();
        bytes.push((name.as_str(), shape, data));
    }
    let mut views = Vec::with_capacity(bytes.len());
    for (name, shape, data) in &bytes {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), data).map_err(refuse)?));
    }
    write_through(path, |temporary| {
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(format), temporary).map_err(refuse)
    })
}
