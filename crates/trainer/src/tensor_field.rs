//! Tensors in a [`Fingerprint`].
use shards::Fingerprint;
use tch::{Device, TchError, Tensor};

/// Extends [`Fingerprint`] with tensors.
pub trait TensorField {
    /// Adds a tensor: type, shape and values.
    fn tensor(&mut self, name: &str, tensor: &Tensor) -> &mut Self;
}

impl TensorField for Fingerprint {
    fn tensor(&mut self, name: &str, tensor: &Tensor) -> &mut Self {
        match tensor_bytes(tensor) {
            Ok(bytes) => {
                self.add(name, format!("{:?} {:?}", tensor.kind(), tensor.size())).add(name, bytes)
            }
            Err(error) => self.refuse(name, &error),
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
        let all = [
            hash(|all| all.add("a", "bc")),
            hash(|all| all.add("ab", "c")),
            hash(|all| all.add("a", "b").add("", "c")),
            hash(|all| all.ids("a", &[1u32, 2])),
            hash(|all| all.ids("a", &[1u32]).ids("a", &[2u32])),
            hash(|all| all.number("a", 1)),
            hash(|all| all.serialize("a", "bc")),
            hash(|all| all.tensor("a", &Tensor::from_slice(&[1i64, 2]))),
            hash(|all| all.tensor("a", &Tensor::from_slice(&[1i64, 2]).view([2, 1]))),
            hash(|all| all.tensor("a", &Tensor::from_slice(&[1f64, 2.0]))),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(all.iter().skip(number + 1).all(|other| other != one), "{number}");
        }
        assert_eq!(hash(|all| all.ids("a", &[1u32, 2])), hash(|all| all.ids("a", &[1i64, 2])));
    }
}
