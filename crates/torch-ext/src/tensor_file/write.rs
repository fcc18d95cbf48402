//! Writing of safetensors files, one tensor at a time.
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use atomic_file::AtomicFile;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tch::{Device, Kind, TchError, Tensor};

use super::dtype::dtype_of;
use crate::{Error, Result};

/// Maximum header size in bytes that readers of the format accept.
const MAX_HEADER_BYTES: usize = 100_000_000;

/// A tensor whose bytes are copied on request.
struct PendingTensor<'a> {
    tensor: &'a Tensor,
    kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl PendingTensor<'_> {
    fn byte_count(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.elt_size_in_bytes()
    }

    fn copy_bytes(&self) -> std::result::Result<Vec<u8>, TchError> {
        let tensor = self.tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0u8; self.byte_count()];
        if !bytes.is_empty() {
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        }
        Ok(bytes)
    }
}

/// Writes named tensors on any device atomically to a safetensors file.
///
/// Each tensor is stored in its dtype. `metadata` is stored in the header (`format` = `pt` marks a
/// PyTorch model). Memory holds a copy of only one tensor's bytes at a time.
///
/// # Errors
/// [`Error::Stored`] if a tensor's dtype has no counterpart in the format, its values cannot be
/// copied, or two tensors share a name; [`Error::Io`] if the file cannot be written.
pub fn write_tensors<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let path = path.as_ref();
    let mut pending = BTreeMap::new();
    for (name, tensor) in tensors {
        let stored_error = |expected, got| Err(Error::stored(path, name, expected, got));
        let kind = tensor.f_kind()?;
        let Some(dtype) = dtype_of(kind) else {
            return stored_error("a dtype that safetensors supports", format!("{kind:?}"));
        };
        let sizes = tensor.size();
        let shape = sizes.iter().map(|&size| usize::try_from(size)).collect();
        let Ok(shape) = shape else {
            return stored_error("sizes of 0 or more", format!("{sizes:?}"));
        };
        let entry = PendingTensor { tensor, kind, dtype, shape };
        if pending.insert(name, entry).is_some() {
            return stored_error("one tensor of this name", "two".to_owned());
        }
    }
    // The order of the safetensors library: by decreasing size of the dtype, then by name.
    let mut pending: Vec<_> = pending.into_iter().collect();
    pending.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.dtype));
    let header = encode_header(&pending, metadata).map_err(|error| Error::io(path, error))?;
    // The writer of the safetensors library is not used, because it names its temporary files
    // differently from [`AtomicFile`], so the files of a killed process would not be recognised and
    // removed later.
    let mut file = AtomicFile::create(path)?;
    file.write_all(&header)?;
    for (name, entry) in &pending {
        let bytes = entry.copy_bytes().map_err(|error| {
            let expected = "values that can be copied to the CPU";
            Error::stored(path, name, expected, error.to_string())
        })?;
        file.write_all(&bytes)?;
    }
    Ok(file.finish()?)
}

/// Returns the first bytes of the file: the header's length, and the header, which is padded to a
/// multiple of 8 bytes.
fn encode_header(
    pending: &[(&str, PendingTensor)],
    metadata: &[(&str, &str)],
) -> io::Result<Vec<u8>> {
    let mut end = 0_usize;
    let infos = pending.iter().map(|(name, entry)| {
        let start = end;
        end += entry.byte_count();
        let (dtype, shape) = (entry.dtype, entry.shape.clone());
        ((*name).to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let metadata: HashMap<String, String> =
        metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let metadata = Metadata::new(metadata, infos.collect()).map_err(io::Error::other)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() > MAX_HEADER_BYTES {
        return Err(io::Error::other("too many tensors or too much metadata for one file"));
    }
    Ok([&(json.len() as u64).to_le_bytes(), json.as_slice()].concat())
}
