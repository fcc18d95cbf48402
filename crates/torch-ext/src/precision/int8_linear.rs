//! Linear layers with 8-bit weights and activations, for inference on the CPU.
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::ffi::{self, into_tensor, make_tensor};

/// Returns whether the processor has instructions for 8-bit dot products (AVX-512 VNNI).
///
/// Without these instructions, [`Int8Linear`] is slow, and its outputs differ only by rounding from
/// the outputs with these instructions.
pub fn int8_is_fast() -> bool {
    // SAFETY: no arguments.
    unsafe { ffi::polyqa_int8_is_fast() }
}

/// Returns whether the processor has bfloat16 dot products (AVX-512 BF16).
pub fn bf16_is_fast() -> bool {
    // SAFETY: no arguments.
    unsafe { ffi::polyqa_bf16_is_fast() }
}

/// Returns whether the processor has AMX tiles for bfloat16, and the system allows their use.
pub(crate) fn has_amx() -> bool {
    // SAFETY: no arguments.
    unsafe { ffi::polyqa_has_amx() }
}

/// A linear layer `x Wᵀ + b` with 8-bit weights and activations.
///
/// Weights have one scale per output. Activations are quantised in each call with one scale per
/// row, so a row's output does not depend on the rest of the batch. Integer sums are exact, so the
/// output does not depend on the number of threads.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
/// use torch_ext::Int8Linear;
///
/// let weight = Tensor::from_slice(&[1f32, -2.0, 0.5, 4.0]).view([2, 2]);
/// let linear = Int8Linear::new(&weight, None)?;
/// let out = linear.apply(&Tensor::from_slice(&[1f32, 1.0]).view([1, 2]), false, Kind::Float)?;
/// let exact = Tensor::from_slice(&[-1f32, 4.5]).view([1, 2]);
/// assert!((out - exact).abs().max().double_value(&[]) < 0.05);
/// # Ok::<(), torch_ext::Error>(())
/// ```
#[derive(Debug)]
pub struct Int8Linear {
    /// `[panels, inputs / 4, 64, 4]`; the shim describes the layout
    packed: Tensor,
    /// `[panels * 64]`
    scales: Tensor,
    /// `[panels * 64]`
    bias: Tensor,
    outputs: i64,
}

impl Clone for Int8Linear {
    fn clone(&self) -> Self {
        Self {
            packed: self.packed.shallow_clone(),
            scales: self.scales.shallow_clone(),
            bias: self.bias.shallow_clone(),
            outputs: self.outputs,
        }
    }
}

impl Int8Linear {
    /// Quantises a weight `[outputs, inputs]`. The optional bias `[outputs]` is not quantised. Both
    /// tensors are float32 on the CPU.
    ///
    /// # Errors
    /// [`Error::Libtorch`](crate::Error::Libtorch) if shape, dtype or device do not match, or a
    /// weight is not finite; [`Error::Torch`](crate::Error::Torch).
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let mut scales = std::ptr::null_mut();
        // SAFETY: a live tensor; on success the shim returns two tensors that we own.
        let packed = make_tensor(|packed, error| unsafe {
            ffi::polyqa_int8_pack(weight.as_ptr(), packed, &mut scales, error)
        })?;
        let scales = into_tensor(scales)?;
        let (outputs, _) = weight.size2()?;
        let padded = Tensor::f_zeros([scales.numel() as i64], (Kind::Float, Device::Cpu))?;
        if let Some(bias) = bias {
            padded.f_narrow(0, 0, outputs)?.f_copy_(&bias.f_detach()?)?;
        }
        Ok(Self { packed, scales, bias: padded, outputs })
    }

    /// Computes `x Wᵀ + b` in the dtype `kind`, followed by the exact GELU if `gelu` is true.
    ///
    /// # Shapes
    /// - `x`: `[.., inputs]`, float32 or bfloat16 on the CPU
    /// - returns `[.., outputs]`, bfloat16 if `kind` is bfloat16, else float32
    ///
    /// # Errors
    /// [`Error::Libtorch`](crate::Error::Libtorch) if shape, dtype or device do not match.
    pub fn apply(&self, x: &Tensor, gelu: bool, kind: Kind) -> Result<Tensor> {
        self.apply_kernel(x, gelu, kind, false)
    }

    /// Computes [`apply`](Self::apply); `portable` disables AVX-512 instructions.
    fn apply_kernel(&self, x: &Tensor, gelu: bool, kind: Kind, portable: bool) -> Result<Tensor> {
        let is_bf16 = kind == Kind::BFloat16;
        // SAFETY: live tensors; on success the shim returns a tensor that we own.
        make_tensor(|out, error| unsafe {
            ffi::polyqa_int8_linear(
                x.as_ptr(),
                self.packed.as_ptr(),
                self.scales.as_ptr(),
                self.bias.as_ptr(),
                self.outputs,
                gelu,
                is_bf16,
                portable,
                out,
                error,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(size: &[i64], seed: i64) -> Tensor {
        crate::seeded_randn(size, seed).unwrap()
    }

    /// Quantises `x` to 8 bits with one scale per row, and returns the dequantised values as
    /// float64.
    fn quantise(x: &Tensor) -> Tensor {
        let x = x.to_kind(Kind::Float);
        let max_abs = x.abs().amax([-1].as_slice(), true);
        let scale = &max_abs / 127.0;
        let values = (&x * (max_abs.full_like(127.0) / &max_abs)).round();
        values.to_kind(Kind::Double) * scale.to_kind(Kind::Double)
    }

    fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64) {
        let scale = want.abs().max().double_value(&[]).max(1e-30);
        let error = (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
        assert!(error <= tolerance * scale, "{error} of {scale}");
    }

    #[test]
    fn outputs_equal_those_of_quantised_weights_and_rows() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (3, 7, 5), (5, 64, 64), (70, 130, 65), (129, 384, 200)]
        {
            let weight = draw(&[outputs, inputs], 1);
            let bias = draw(&[outputs], 2);
            let x = draw(&[rows, inputs], 3) * 5.0;
            let linear = Int8Linear::new(&weight, Some(&bias)).unwrap();
            let want = quantise(&x).matmul(&quantise(&weight).tr()) + bias.to_kind(Kind::Double);
            assert_close(&linear.apply(&x, false, Kind::Float).unwrap(), &want, 1e-6);
            assert_close(&linear.apply(&x, true, Kind::Float).unwrap(), &want.gelu("none"), 1e-6);
            let half = linear.apply(&x, false, Kind::BFloat16).unwrap();
            assert_eq!((half.kind(), half.size()), (Kind::BFloat16, vec![rows, outputs]));
            assert_close(&half, &want, 1.0 / 256.0);
            let low = x.to_kind(Kind::BFloat16);
            let want = quantise(&low).matmul(&quantise(&weight).tr()) + bias.to_kind(Kind::Double);
            assert_close(&linear.apply(&low, false, Kind::Float).unwrap(), &want, 1e-6);
            let batched = linear.apply(&x.view([1, rows, inputs]), false, Kind::Float).unwrap();
            assert_eq!(batched.size(), [1, rows, outputs]);
        }
    }

    #[test]
    fn the_portable_kernel_computes_equal_outputs_up_to_rounding() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let weight = draw(&[70, 131], 1);
            let bias = draw(&[70], 2);
            let x = (draw(&[67, 131], 3) * 5.0).to_kind(kind);
            let linear = Int8Linear::new(&weight, Some(&bias)).unwrap();
            for gelu in [false, true] {
                let [fast, portable] = [false, true]
                    .map(|portable| linear.apply_kernel(&x, gelu, Kind::Float, portable).unwrap());
                assert_close(&portable, &fast.to_kind(Kind::Double), 1e-6);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_other_rows_or_threads() {
        let weight = draw(&[100, 48], 1);
        let x = draw(&[300, 48], 2);
        let linear = Int8Linear::new(&weight, None).unwrap();
        let batch_result = linear.apply(&x, true, Kind::Float).unwrap();
        for row in [0, 63, 64, 299] {
            let row_result = linear.apply(&x.narrow(0, row, 1), true, Kind::Float).unwrap();
            assert_eq!(row_result, batch_result.narrow(0, row, 1));
        }
        let threads = tch::get_num_threads();
        tch::set_num_threads(1);
        assert_eq!(linear.apply(&x, true, Kind::Float).unwrap(), batch_result);
        tch::set_num_threads(threads);
    }

    #[test]
    fn large_inputs_are_finite_and_non_finite_inputs_give_nan() {
        let weight = draw(&[3, 5], 1);
        let linear = Int8Linear::new(&weight, None).unwrap();
        let apply = |x: Tensor| linear.apply(&x.view([1, 5]), false, Kind::Float).unwrap();
        assert_eq!(
            apply(Tensor::zeros([5], (Kind::Float, Device::Cpu))).abs().max().double_value(&[]),
            0.0
        );
        let large = apply(Tensor::full([5], 1e30, (Kind::Float, Device::Cpu)));
        assert!(bool::try_from(large.isfinite().all()).unwrap());
        for non_finite in [f64::NAN, f64::INFINITY] {
            let x = Tensor::zeros([5], (Kind::Float, Device::Cpu));
            let _ = x.get(2).fill_(non_finite);
            assert!(bool::try_from(apply(x).isnan().all()).unwrap());
        }
        let _ = weight.get(1).get(1).fill_(f64::NAN);
        let error = Int8Linear::new(&weight, None).unwrap_err().to_string();
        assert!(error.contains("not finite: output 1"), "{error}");
    }

    #[test]
    fn mismatched_shapes_and_dtypes_are_errors() {
        let linear = Int8Linear::new(&draw(&[3, 8], 1), None).unwrap();
        for (x, message) in [
            (draw(&[2, 12], 1), "expected 5 to 8 inputs, got 12"),
            (draw(&[2, 8], 1).to_kind(Kind::Double), "expected float32 or bfloat16"),
        ] {
            let error = linear.apply(&x, false, Kind::Float).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = Int8Linear::new(&draw(&[3], 1), None).unwrap_err().to_string();
        assert!(error.contains("expected a weight [outputs, inputs]"), "{error}");
    }
}
