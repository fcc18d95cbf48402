use super::*;
use crate::Error;
use safetensors::SafeTensors;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

fn named_tensors(tensors: &TensorMap) -> impl Iterator<Item = (&str, &Tensor)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
}

/// Returns a new folder, and the path of a file in it that does not exist yet.
fn temporary_path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    (folder, path)
}

/// The bytes of a file with the header `text` and the tensor bytes `body`.
fn file_with_header(text: &str, body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(text.len()).unwrap().to_le_bytes();
    [&length[..], text.as_bytes(), body].concat()
}

#[test]
fn every_dtype_round_trips() {
    let (folder, path) = temporary_path();
    let base = Tensor::from_slice(&[0.0f64, 1.0, -2.5, 1e4]).view([2, 2]);
    let kinds = [
        Kind::Double,
        Kind::Float,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int64,
        Kind::Int,
        Kind::Int16,
        Kind::Int8,
        Kind::Uint8,
        Kind::Bool,
    ];
    let mut tensors: TensorMap = kinds
        .iter()
        .map(|&kind| {
            let values = if kind == Kind::Int8 { base.clamp_max(100.0) } else { base.abs() };
            (format!("{kind:?}"), values.to_kind(kind))
        })
        .collect();
    tensors.insert("transposed".into(), base.tr());
    tensors.insert("empty".into(), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu)));
    tensors.insert("scalar".into(), Tensor::from(3.5f32));
    tensors.insert("trained".into(), Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true));
    write_tensors(&path, named_tensors(&tensors), &[]).unwrap();
    let loaded = read_tensors(&path).unwrap();
    assert_eq!(loaded.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &tensors {
        assert_eq!(loaded[name].kind(), tensor.kind(), "{name}");
        assert_eq!(&loaded[name], tensor, "{name}");
        assert_eq!(loaded[name].size(), tensor.size(), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn bytes_equal_those_of_the_safetensors_library() {
    let (_folder, path) = temporary_path();
    let (a, b) = (Tensor::from_slice(&[1u8, 2, 3]), Tensor::from_slice(&[1f32, -2.0]).view([2, 1]));
    write_tensors(&path, [("b", &b), ("a", &a)], &[("format", "pt")]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("a").unwrap().data(), [1, 2, 3]);
    let stored = file.tensor("b").unwrap();
    assert_eq!(stored.shape(), [2, 1]);
    assert_eq!(stored.data(), [1f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let reference = safetensors::serialize(file.tensors(), header.metadata().clone()).unwrap();
    assert!(bytes == reference, "the library writes other bytes");
}

#[test]
fn tensors_are_read_separately() {
    let (_folder, path) = temporary_path();
    let values = |k: i64| Tensor::arange(k, (Kind::Int64, Device::Cpu)) + k;
    let tensors: TensorMap = (0..20).map(|k| (format!("t{k:02}"), values(k))).collect();
    write_tensors(&path, named_tensors(&tensors), &[]).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.path(), path);
    assert_eq!(file.names(), tensors.keys().cloned().collect::<Vec<_>>());
    assert_eq!((file.shape("t07"), file.dtype("t07")), (Some(vec![7]), Some("I64".into())));
    assert!(file.contains("t00") && !file.contains("t20"));
    assert_eq!((file.shape("t20"), file.dtype("t20")), (None, None));
    // Several threads read the shared file at the same time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for k in (0..20).rev() {
                    assert_eq!(file.read(&format!("t{k:02}")).unwrap(), values(k), "{k}");
                }
            });
        }
    });
    let message = file.read("t20").unwrap_err().to_string();
    assert!(message.contains("t.safetensors") && message.contains("t20"), "{message}");
}

#[test]
fn mapped_tensors_equal_read_tensors_and_leave_the_file_unchanged() {
    let (_folder, path) = temporary_path();
    let values = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]);
    let empty = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
    let half = values.to_kind(Kind::BFloat16);
    write_tensors(&path, [("values", &values), ("empty", &empty), ("half", &half)], &[]).unwrap();
    let file = TensorFile::open(&path).unwrap();
    for name in file.names() {
        assert_eq!(file.map(&name).unwrap(), file.read(&name).unwrap(), "{name}");
    }
    assert!(matches!(file.map("other"), Err(Error::Stored { .. })));
    let mapped = file.map("values").unwrap();
    let _ = mapped.get(0).fill_(7.0);
    assert_eq!(file.read("values").unwrap(), values);
    // After the file at the path is replaced, the open handle and the mapped tensors still have the
    // old content.
    write_tensors(&path, [("values", &half)], &[]).unwrap();
    assert_eq!(file.map("values").unwrap(), values);
    assert_eq!(mapped.double_value(&[0, 0]), 7.0);
    // The header has an odd length, so the offset of the tensor that follows it is not a multiple
    // of the tensor's element size.
    let header = r#"{"values":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    assert_eq!(header.len() % 4, 3);
    std::fs::write(&path, file_with_header(header, &2.5f32.to_le_bytes())).unwrap();
    let tensor = TensorFile::open(&path).unwrap().map("values").unwrap();
    assert_eq!(tensor.double_value(&[0]), 2.5);
}

#[test]
fn errors_of_damaged_files_name_the_file() {
    let (folder, path) = temporary_path();
    let tensor = Tensor::arange(100, (Kind::Float, Device::Cpu));
    write_tensors(&path, [("x", &tensor)], &[]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut huge_header = bytes.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut padded = bytes.clone();
    padded.push(0);
    let header = |shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let empty_body: &[u8] = &[];
    let header_of_empty_tensors = |count: usize| {
        let header_entry =
            |k| format!(r#""x{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
        format!("{{{}}}", (0..count).map(header_entry).collect::<Vec<_>>().join(","))
    };
    let damaged_files = [
        (
            file_with_header(&header_of_empty_tensors(100_001), empty_body),
            "100001 entries, expected at most 100000",
        ),
        (bytes[..bytes.len() - 1].to_vec(), "truncated"),
        (padded, "truncated or padded"),
        (bytes[..20].to_vec(), "truncated"),
        (bytes[..3].to_vec(), "at least 8"),
        (Vec::new(), "at least 8"),
        (huge_header, "the header has a size of 18446744073709551615"),
        (file_with_header("no JSON", empty_body), "header:"),
        (file_with_header("\"\u{e9}", empty_body), "header:"),
        (file_with_header(&header("[1]", "[4,0]"), &[0; 4]), "header:"),
        (file_with_header(&header("[1]", "[4,8]"), &[0; 8]), "header:"),
        (file_with_header(&header("[2]", "[0,4]"), &[0; 4]), "header:"),
        (file_with_header(&header("[-1]", "[0,4]"), &[0; 4]), "header:"),
        (file_with_header(&header("[4294967296,4294967296,16]", "[0,4]"), &[0; 4]), "header:"),
        (file_with_header(&header("[0,18446744073709551615]", "[0,0]"), empty_body), "too large"),
    ];
    for (damaged, expected) in damaged_files {
        std::fs::write(&path, damaged).unwrap();
        let error = read_tensors(&path).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Damaged { .. }), "{message}");
        assert!(message.contains("t.safetensors") && message.contains(expected), "{message}");
    }
    for missing_path in [folder.path().join("none"), folder.path().to_owned()] {
        let error = read_tensors(&missing_path).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == missing_path), "{error}");
    }
}

#[test]
fn errors_name_unsupported_dtypes() {
    let (folder, path) = temporary_path();
    let header = r#"{"x":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[0,4]}}"#;
    let bytes = file_with_header(header, &[0; 4]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(TensorFile::open(&path).unwrap().dtype("x"), Some("F8_E5M2".into()));
    let message = read_tensors(&path).unwrap_err().to_string();
    for part in ["t.safetensors", "tensor x", "F8_E5M2"] {
        assert!(message.contains(part), "{message}");
    }
    // A dtype that safetensors does not support is an error, and the old file does not change.
    let complex = Tensor::zeros([2], (Kind::ComplexFloat, Device::Cpu));
    let valid = Tensor::from(1f32);
    let error = write_tensors(&path, [("a", &valid), ("z", &complex)], &[]).unwrap_err();
    let message = error.to_string();
    for part in ["t.safetensors", "tensor z", "ComplexFloat"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_preserves_the_old_file() {
    let (folder, path) = temporary_path();
    let first = Tensor::from(1f32);
    write_tensors(&path, [("x", &first)], &[]).unwrap();
    let old = std::fs::read(&path).unwrap();
    let second = Tensor::from(2f32);
    let error = write_tensors(&path, [("x", &first), ("x", &second)], &[]).unwrap_err();
    assert!(error.to_string().contains("tensor x"), "{error}");
    // A sparse tensor has no contiguous values, so copying its bytes fails.
    let sparse = Tensor::eye(3, (Kind::Float, Device::Cpu)).to_sparse_sparse_dim(2);
    let error = write_tensors(&path, [("a", &first), ("s", &sparse)], &[]).unwrap_err();
    assert!(matches!(&error, Error::Stored { tensor, .. } if tensor == "s"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), old);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let missing = folder.path().join("missing/t.safetensors");
    let error = write_tensors(&missing, [("x", &first)], &[]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(!missing.exists());
}
