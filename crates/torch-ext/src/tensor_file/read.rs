//! Reading of safetensors files, one tensor at a time, after validation of the header.
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsRawFd;
use std::path::Path;

use atomic_file::fs::File;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use tch::{Device, Kind, Tensor};

use super::dtype::kind_of;
use crate::{Error, Result};

/// Maximum header size in bytes, as in the safetensors crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Maximum number of entries in a header; each needs about a kilobyte of memory during validation.
const MAX_ENTRIES: usize = 100_000;

/// Tensors by name.
pub type TensorMap = BTreeMap<String, Tensor>;

/// An open safetensors file with a valid header; tensors are read on request.
#[derive(Debug)]
pub struct TensorFile {
    file: File,
    metadata: Metadata,
    /// Offset of the first tensor's bytes in the file.
    start: u64,
}

impl TensorFile {
    /// Opens a file and validates its header: sizes, shapes and offsets must be consistent with
    /// each other and with the file's length.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] naming the file and the reason.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = atomic_file::fs::open(path)?;
        let length = file.metadata()?.len();
        if length < 8 {
            let reason = format!("{length} bytes long; a safetensors file has at least 8");
            return Err(Error::damaged(path, reason));
        }
        let mut header_size = [0u8; 8];
        file.read_exact(&mut header_size)?;
        let header_size = u64::from_le_bytes(header_size);
        if header_size > MAX_HEADER_BYTES || header_size > length - 8 {
            let reason = format!(
                "the header has a size of {header_size} bytes, but the file has {length} bytes; \
                 the file is truncated or not a safetensors file"
            );
            return Err(Error::damaged(path, reason));
        }
        let mut header = vec![0u8; header_size as usize];
        file.read_exact(&mut header)?;
        let header_error = |error| Error::damaged(path, format!("header: {error}"));
        let EntryCount(entries) = serde_json::from_slice(&header).map_err(header_error)?;
        if entries > MAX_ENTRIES {
            let reason = format!("header: {entries} entries, expected at most {MAX_ENTRIES}");
            return Err(Error::damaged(path, reason));
        }
        let metadata: Metadata = serde_json::from_slice(&header).map_err(header_error)?;
        let start = header_size + 8;
        let data_size = metadata.data_len() as u64;
        if start.checked_add(data_size) != Some(length) {
            let reason = format!(
                "the header describes {data_size} bytes of tensors, but the file has {} bytes; \
                 the file is truncated or padded",
                length - start
            );
            return Err(Error::damaged(path, reason));
        }
        // A tensor with a dimension of size 0 has no bytes, so the file's length does not limit its
        // other dimensions.
        let tensors = metadata.tensors();
        if let Some((name, info)) = tensors.iter().find(|(_, info)| shape_of(info).is_none()) {
            let reason = format!("header: tensor {name}: shape {:?} is too large", info.shape);
            return Err(Error::damaged(path, reason));
        }
        Ok(Self { file, metadata, start })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the metadata value of `key`.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.metadata.metadata().as_ref()?.get(key).cloned()
    }

    /// Returns the sorted names of all tensors.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// Returns whether the file contains a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// Returns the shape of a tensor, if the file contains it.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.metadata.info(name).and_then(shape_of)
    }

    /// Returns the stored dtype of a tensor (`F32`, `BF16`, …), if the file contains it.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.metadata.info(name).map(|info| info.dtype.to_string())
    }

    /// Reads one tensor in its stored dtype, on the CPU.
    ///
    /// # Errors
    /// [`Error::Stored`] if the file has no such tensor or stores it in a dtype that libtorch does
    /// not support; [`Error::Io`].
    pub fn read(&self, name: &str) -> Result<Tensor> {
        self.read_at(&self.locate(name)?)
    }

    /// Maps one tensor into memory in its stored dtype, on the CPU.
    ///
    /// The system reads a part of the file when it is first used, and programs that map the same
    /// file share the memory. Changes to the tensor do not change the file. The file must not be
    /// changed in place while the tensor exists; it may be replaced or deleted. On systems other
    /// than Linux, and for a tensor whose offset is not a multiple of its element size, this
    /// function equals [`read`](Self::read).
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn map(&self, name: &str) -> Result<Tensor> {
        let location = self.locate(name)?;
        let (Ok(start), Ok(length), Ok(size)) = (
            i64::try_from(location.offset),
            i64::try_from(location.length),
            i64::try_from(location.kind.elt_size_in_bytes()),
        ) else {
            return self.read_at(&location);
        };
        if !cfg!(target_os = "linux") || length == 0 || start % size != 0 {
            return self.read_at(&location);
        }
        // This path refers to the file that is open, even if another file has replaced it at the
        // original path.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let end = start.saturating_add(length);
        let file = Tensor::f_from_file(&path, false, end, (Kind::Uint8, Device::Cpu))?;
        let bytes = file.f_narrow(0, start, length)?;
        Ok(bytes.f_view_dtype(location.kind)?.f_view(&*location.shape)?)
    }

    /// Returns dtype, shape and location of a tensor.
    fn locate(&self, name: &str) -> Result<TensorLocation> {
        let stored_error = |expected, got: String| Error::stored(self.path(), name, expected, got);
        let Some(info) = self.metadata.info(name) else {
            return Err(stored_error("a tensor of this name", "none".into()));
        };
        let Some(kind) = kind_of(info.dtype) else {
            return Err(stored_error("a dtype that libtorch supports", info.dtype.to_string()));
        };
        let Some(shape) = shape_of(info) else {
            return Err(stored_error(
                "a shape that libtorch supports",
                format!("{:?}", info.shape),
            ));
        };
        let (from, to) = info.data_offsets;
        let offset = self.start.checked_add(from as u64);
        let (Some(offset), Some(length)) = (offset, to.checked_sub(from)) else {
            return Err(stored_error("an offset within the file", from.to_string()));
        };
        let elements =
            info.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let bytes = elements.and_then(|elements| elements.checked_mul(kind.elt_size_in_bytes()));
        if length > 0 && bytes != Some(length) {
            return Err(stored_error("a size that matches shape and dtype", length.to_string()));
        }
        Ok(TensorLocation { kind, shape, offset, length })
    }

    /// Reads a tensor from the file directly into the tensor's memory.
    fn read_at(&self, location: &TensorLocation) -> Result<Tensor> {
        let tensor = Tensor::f_empty(&location.shape, (location.kind, Device::Cpu))?;
        if location.length > 0 {
            let data = tensor.data_ptr().cast();
            // SAFETY: the tensor is new, contiguous and on the CPU, so only this function accesses
            // its bytes. `locate` has checked that `length` is their number.
            let bytes = unsafe { std::slice::from_raw_parts_mut(data, location.length) };
            self.file.read_exact_at(bytes, location.offset)?;
        }
        Ok(tensor)
    }
}

/// Dtype, shape and location of a tensor in its file.
struct TensorLocation {
    kind: Kind,
    shape: Vec<i64>,
    /// Offset from the start of the file, in bytes.
    offset: u64,
    /// Length in bytes.
    length: usize,
}

/// Counts the entries of a JSON object without storing them.
struct EntryCount(usize);

impl<'de> Deserialize<'de> for EntryCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Counter;

        impl<'de> Visitor<'de> for Counter {
            type Value = EntryCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<EntryCount, M::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(EntryCount(count))
            }
        }

        deserializer.deserialize_map(Counter)
    }
}

fn shape_of(info: &TensorInfo) -> Option<Vec<i64>> {
    info.shape.iter().map(|&size| i64::try_from(size).ok()).collect()
}

/// Reads all tensors of a safetensors file in their stored dtype, on the CPU.
///
/// # Errors
/// The errors of [`TensorFile::open`] and [`TensorFile::read`].
pub fn read_tensors(path: impl AsRef<Path>) -> Result<TensorMap> {
    let file = TensorFile::open(path)?;
    let names = file.names().into_iter();
    names.map(|name| file.read(&name).map(|tensor| (name, tensor))).collect()
}
