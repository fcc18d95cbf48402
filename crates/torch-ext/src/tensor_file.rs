//! Named tensors in safetensors files: checked on the way in, atomic on the way out.
//!
//! safetensors only: the format holds a JSON header and raw numbers, so an untrusted file can be wrong but not run code.
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Tensors by name.
pub type TensorMap = BTreeMap<String, Tensor>;

fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
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
        _ => return None,
    })
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    Some(match kind {
        Kind::Bool => Dtype::BOOL,
        Kind::Uint8 => Dtype::U8,
        Kind::Int8 => Dtype::I8,
        Kind::Int16 => Dtype::I16,
        Kind::Int => Dtype::I32,
        Kind::Int64 => Dtype::I64,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Float => Dtype::F32,
        Kind::Double => Dtype::F64,
        _ => return None,
    })
}

/// Reads all tensors of a safetensors file in their stored dtype, on the CPU.
///
/// # Errors
/// [`Error::File`] if the file is missing, its header is damaged or claims more than the file holds, or a tensor has a
/// dtype that libtorch lacks.
pub fn read_tensors(path: &Path) -> Result<TensorMap> {
    let refuse = |reason: String| Error::File { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| refuse(format!("not a whole safetensors file ({error})")))?;
    let mut tensors = TensorMap::new();
    for (name, view) in file.iter() {
        let kind = kind_of(view.dtype()).ok_or_else(|| {
            refuse(format!("tensor {name}: dtype {:?} is not supported", view.dtype()))
        })?;
        let shape = view
            .shape()
            .iter()
            .map(|&size| i64::try_from(size))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|_| refuse(format!("tensor {name}: shape {:?} is too large", view.shape())))?;
        let tensor = if view.data().is_empty() {
            Tensor::f_zeros(&shape, (kind, Device::Cpu))?
        } else {
            Tensor::f_from_data_size(view.data(), &shape, kind)?
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes named tensors as a safetensors file: into a temporary file beside `path`, synced, then renamed, so that `path`
/// holds the old file or the whole new one. `metadata` goes into the header (`format = "pt"` marks a PyTorch model).
///
/// # Errors
/// [`Error::File`] if a tensor's dtype has no counterpart in the format or the file cannot be written.
pub fn write_tensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<()> {
    let refuse = |reason: String| Error::File { path: path.to_owned(), reason };
    let mut stored = BTreeMap::new();
    for (name, tensor) in tensors {
        let kind = tensor.f_kind()?;
        let dtype = dtype_of(kind)
            .ok_or_else(|| refuse(format!("tensor {name}: dtype {kind:?} cannot be stored")))?;
        let shape = tensor
            .size()
            .iter()
            .map(|&size| usize::try_from(size))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|_| refuse(format!("tensor {name}: negative size")))?;
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0u8; tensor.numel() * kind.elt_size_in_bytes()];
        if !bytes.is_empty() {
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        }
        stored.insert(name.to_owned(), Stored { dtype, shape, bytes });
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)
        .map_err(|error| refuse(error.to_string()))?
        .into_temp_path();
    safetensors::serialize_to_file(stored.iter(), metadata, &temporary)
        .map_err(|error| refuse(format!("cannot be written ({error})")))?;
    File::open(&temporary)
        .and_then(|file| {
            readable_by_all(&file)?;
            file.sync_all()
        })
        .map_err(|error| refuse(error.to_string()))?;
    temporary.persist(path).map_err(|error| refuse(error.to_string()))?;
    Ok(())
}

/// Temporary files are private; the finished file gets the usual mode.
fn readable_by_all(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let base = Tensor::from_slice(&[0.0f64, 1.0, -2.5, 1e4]).view([2, 2]);
        let kinds = [
            Kind::Double,
            Kind::Float,
            Kind::Half,
            Kind::BFloat16,
            Kind::Int64,
            Kind::Int,
            Kind::Uint8,
            Kind::Bool,
        ];
        let mut tensors: TensorMap =
            kinds.iter().map(|&kind| (format!("{kind:?}"), base.abs().to_kind(kind))).collect();
        tensors.insert("transposed".into(), base.tr());
        tensors.insert("empty".into(), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu)));
        write_tensors(&path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), None)
            .unwrap();
        let back = read_tensors(&path).unwrap();
        assert_eq!(back.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
        for (name, tensor) in &tensors {
            assert_eq!(back[name].kind(), tensor.kind(), "{name}");
            assert_eq!(&back[name], tensor, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensor = Tensor::arange(100, (Kind::Float, Device::Cpu));
        write_tensors(&path, [("x", &tensor)], None).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut huge = whole.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        for damaged in [&whole[..whole.len() - 1], &whole[..20], &whole[..3], &[], &huge] {
            std::fs::write(&path, damaged).unwrap();
            let message = read_tensors(&path).unwrap_err().to_string();
            assert!(message.contains("t.safetensors"), "{message}");
        }
        assert!(read_tensors(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/t.safetensors");
        let tensor = Tensor::from(1f32);
        assert!(write_tensors(&path, [("x", &tensor)], None).is_err());
        assert!(!path.exists());
    }
}
