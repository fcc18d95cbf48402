//! Writing; the tensors' bytes are made one tensor at a time.
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};
use tch::{Device, Kind, TchError, Tensor};

use super::dtype::dtype_of;
use crate::{Error, Result};

/// A tensor whose bytes are copied on request.
struct Pending<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
    /// The first failure of any tensor, with its name; the format's interface cannot return one.
    failure: &'a OnceCell<(String, TchError)>,
}

impl Pending<'_> {
    fn bytes(&self) -> std::result::Result<Vec<u8>, TchError> {
        let tensor = self.tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0u8; self.data_len()];
        if !bytes.is_empty() {
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        }
        Ok(bytes)
    }
}

impl View for Pending<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // After a failure nothing is published, so that the rest need not be copied.
        if self.failure.get().is_some() {
            return Cow::Borrowed(&[]);
        }
        Cow::Owned(self.bytes().unwrap_or_else(|error| {
            self.failure.get_or_init(|| (self.name.to_owned(), error));
            Vec::new()
        }))
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.elt_size_in_bytes()
    }
}

/// Writes named tensors as a safetensors file, each in its own dtype, from whatever device; `path`
/// holds the old file or the whole new one. `metadata` goes into the header (`format` = `pt` marks
/// a PyTorch model). Beside the tensors themselves memory holds the bytes of one of them at a time.
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
    let failure = OnceCell::new();
    let mut pending = BTreeMap::new();
    for (name, tensor) in tensors {
        let refuse = |expected, got| Err(Error::stored(path, name, expected, got));
        let kind = tensor.f_kind()?;
        let Some(dtype) = dtype_of(kind) else {
            return refuse("a dtype that safetensors has", format!("{kind:?}"));
        };
        let sizes = tensor.size();
        let shape = sizes.iter().map(|&size| usize::try_from(size)).collect();
        let Ok(shape) = shape else {
            return refuse("sizes of 0 or more", format!("{sizes:?}"));
        };
        let one = Pending { name, tensor, kind, dtype, shape, failure: &failure };
        if pending.insert(name, one).is_some() {
            return refuse("one tensor of this name", "two".to_owned());
        }
    }
    let metadata: HashMap<String, String> =
        metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let written = whole_file::write_with(path, |temporary| {
        safetensors::serialize_to_file(pending, metadata, temporary).map_err(
            |error| match error {
                SafeTensorError::IoError(error) => error,
                other => io::Error::other(other),
            },
        )?;
        match failure.get() {
            Some(_) => Err(io::Error::other("a tensor's values cannot be copied")),
            None => Ok(()),
        }
    });
    match failure.into_inner() {
        Some((name, error)) => {
            let expected = "values that can be copied to the CPU";
            Err(Error::stored(path, &name, expected, error.to_string()))
        }
        None => written.map_err(|error| Error::io(path, error)),
    }
}
