//! Tensors in a [`Fingerprint`].
use shards::Fingerprint;
use tch::{Device, TchError, Tensor};

/// Extends [`Fingerprint`] with tensors.
pub trait FingerprintExt {
    /// Adds a tensor: type, shape and values.
    fn add_tensor(&mut self, name: &str, tensor: &Tensor) -> &mut Self;
}

impl FingerprintExt for Fingerprint {
    fn add_tensor(&mut self, name: &str, tensor: &Tensor) -> &mut Self {
        match tensor_bytes(tensor) {
            Ok(bytes) => {
                self.add(name, format!("{:?} {:?}", tensor.kind(), tensor.size())).add(name, bytes)
            }
            Err(error) => self.record_error(name, &error),
        }
    }
}

fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?;
    let count = flat.numel();
    let mut bytes = vec![0; count * flat.kind().elt_size_in_bytes()];
    flat.f_copy_data_u8(&mut bytes, count)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(fill: impl Fn(&mut Fingerprint) -> &mut Fingerprint) -> String {
        let mut fingerprint = Fingerprint::new();
        fill(&mut fingerprint);
        fingerprint.finish().unwrap()
    }

    #[test]
    fn different_lists_of_fields_have_different_fingerprints() {
        let hashes = [
            hash(|fields| fields.add("a", "bc")),
            hash(|fields| fields.add("ab", "c")),
            hash(|fields| fields.add("a", "b").add("", "c")),
            hash(|fields| fields.add_ids("a", &[1u32, 2])),
            hash(|fields| fields.add_ids("a", &[1u32]).add_ids("a", &[2u32])),
            hash(|fields| fields.add_number("a", 1)),
            hash(|fields| fields.add_json("a", "bc")),
            hash(|fields| fields.add_tensor("a", &Tensor::from_slice(&[1i64, 2]))),
            hash(|fields| fields.add_tensor("a", &Tensor::from_slice(&[1i64, 2]).view([2, 1]))),
            hash(|fields| fields.add_tensor("a", &Tensor::from_slice(&[1f64, 2.0]))),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(hashes.iter().skip(index + 1).all(|other| other != hash), "{index}");
        }
        assert_eq!(
            hash(|fields| fields.add_ids("a", &[1u32, 2])),
            hash(|fields| fields.add_ids("a", &[1i64, 2]))
        );
    }
}
