//! Encoder layers in bfloat16 for inference on the CPU, with all operations of a layer in one
//! kernel.
use tch::{Kind, Tensor};

use crate::ffi::{self, RawTensor, make_tensor};
use crate::number::to_i64;
use crate::{Error, Result};

/// Sizes are multiples of this number.
const BLOCK: i64 = 32;
/// The largest number of elements of a head.
const MOST_DEPTH: i64 = 128;

/// The shape of an encoder layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerShape {
    /// The hidden size, H.
    pub hidden: i64,
    /// The number of attention heads.
    pub heads: i64,
    /// The width of the intermediate layer, I.
    pub intermediate: i64,
    /// The epsilon of both LayerNorms.
    pub eps: f64,
}

/// Weight `[outputs, inputs]` and bias `[outputs]` of a linear layer, or `[H]` each of a LayerNorm;
/// on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct LinearWeights<'a> {
    /// The weight.
    pub weight: &'a Tensor,
    /// The bias.
    pub bias: &'a Tensor,
}

/// The weights of a layer with BERT's layout (Devlin et al. 2019): self-attention and a
/// feed-forward layer, each followed by the addition of its input and a LayerNorm.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a> {
    /// Query, key and value, `[H, H]` each.
    pub projections: [LinearWeights<'a>; 3],
    /// The output layer of attention, `[H, H]`.
    pub attention_output: LinearWeights<'a>,
    /// The norm after attention.
    pub attention_norm: LinearWeights<'a>,
    /// The intermediate layer before GELU, `[I, H]`.
    pub intermediate: LinearWeights<'a>,
    /// The output layer, `[H, I]`.
    pub output: LinearWeights<'a>,
    /// The norm of the layer's output.
    pub output_norm: LinearWeights<'a>,
}

/// An encoder layer with BERT's layout and GELU for inference in bfloat16, on processors with
/// AVX-512 BF16 or AMX tiles.
///
/// Hidden states, weights and the inputs of all matrix multiplications are bfloat16; sums, norms and
/// softmax are float32. A thread computes all operations for about 256 tokens, so that intermediate
/// results stay in its core's cache. A row's output depends neither on other rows nor on the number
/// of threads.
#[derive(Debug)]
pub struct EncoderLayer {
    shape: LayerShape,
    /// Four packed weights, four biases, and weight and bias of two norms, in the shim's order.
    tensors: Vec<Tensor>,
}

impl Clone for EncoderLayer {
    fn clone(&self) -> Self {
        let tensors = self.tensors.iter().map(Tensor::shallow_clone).collect();
        Self { shape: self.shape, tensors }
    }
}

impl EncoderLayer {
    /// Returns whether the processor has the instructions, and the kernel supports the shape:
    /// multiples of 32 elements in hidden states, heads and intermediate layer, and at most 128 in
    /// a head.
    pub fn supports(shape: &LayerShape) -> bool {
        let LayerShape { hidden, heads, intermediate, .. } = *shape;
        // SAFETY: no arguments.
        let is_fast = unsafe { ffi::polyqa_encoder_layer_is_fast() };
        let has_heads = heads > 0 && hidden > 0 && hidden % (heads * BLOCK) == 0;
        is_fast
            && has_heads
            && hidden / heads <= MOST_DEPTH
            && intermediate > 0
            && intermediate % BLOCK == 0
    }

    /// Copies the weights to the kernel's layout.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if the processor or the shape is [not supported](Self::supports), or a
    /// weight has another shape or device; [`Error::Torch`].
    pub fn new(shape: LayerShape, weights: &LayerWeights) -> Result<Self> {
        if !Self::supports(&shape) {
            return Err(Error::Libtorch(format!("the kernel does not support {shape:?}")));
        }
        let LayerShape { hidden, intermediate, .. } = shape;
        let all = |weights: &[LinearWeights]| -> Result<LinearWeightsOwned> {
            let (weight, bias): (Vec<_>, Vec<_>) =
                weights.iter().map(|linear| (linear.weight, linear.bias)).unzip();
            Ok((Tensor::f_cat(&weight, 0)?, Tensor::f_cat(&bias, 0)?))
        };
        let linear_layers = [
            (all(&weights.projections)?, [3 * hidden, hidden]),
            (all(&[weights.attention_output])?, [hidden, hidden]),
            (all(&[weights.intermediate])?, [intermediate, hidden]),
            (all(&[weights.output])?, [hidden, intermediate]),
        ];
        let (mut tensors, mut biases) = (Vec::new(), Vec::new());
        for ((weight, bias), size) in &linear_layers {
            check_size("weight", weight, size)?;
            // SAFETY: a live tensor; on success the shim returns a tensor that we own.
            tensors.push(make_tensor(|packed, error| unsafe {
                ffi::polyqa_encoder_layer_pack(weight.as_ptr(), packed, error)
            })?);
            let [outputs, _] = *size;
            biases.push(as_vector("bias", bias, outputs)?);
        }
        tensors.append(&mut biases);
        for norm in [weights.attention_norm, weights.output_norm] {
            tensors.push(as_vector("norm weight", norm.weight, hidden)?);
            tensors.push(as_vector("norm bias", norm.bias, hidden)?);
        }
        Ok(Self { shape, tensors })
    }

    /// Computes the layer's output, which has no gradient.
    ///
    /// # Shapes
    /// - `hidden`: `[N, H]` bfloat16 on the CPU, the concatenated tokens of all rows; `lengths`: the
    ///   number of tokens of each row, with sum N
    /// - returns `[N, H]` bfloat16
    ///
    /// # Errors
    /// [`Error::Libtorch`] if shape, dtype or device do not match, or `hidden` requires gradient.
    pub fn apply(&self, hidden: &Tensor, lengths: &[i64]) -> Result<Tensor> {
        self.apply_kernel(hidden, lengths, true)
    }

    /// Computes [`apply`](Self::apply); without `use_amx`, by dot products.
    fn apply_kernel(&self, hidden: &Tensor, lengths: &[i64], use_amx: bool) -> Result<Tensor> {
        let tensors: Vec<RawTensor> = self.tensors.iter().map(|tensor| tensor.as_ptr()).collect();
        // SAFETY: live tensors, whose shapes and dtypes were checked when they were packed, and
        // lengths; on success the shim returns a tensor that we own.
        make_tensor(|out, error| unsafe {
            ffi::polyqa_encoder_layer(
                hidden.as_ptr(),
                lengths.as_ptr(),
                to_i64(lengths.len()),
                self.shape.heads,
                self.shape.eps,
                use_amx,
                tensors.as_ptr(),
                out,
                error,
            )
        })
    }
}

type LinearWeightsOwned = (Tensor, Tensor);

fn check_size(name: &str, tensor: &Tensor, size: &[i64]) -> Result<()> {
    if tensor.size() == size {
        return Ok(());
    }
    Err(Error::Libtorch(format!("expected a {name} {size:?}, got {:?}", tensor.size())))
}

/// Returns a copy in contiguous float32.
fn as_vector(name: &str, tensor: &Tensor, size: i64) -> Result<Tensor> {
    check_size(name, tensor, &[size])?;
    Ok(tensor.f_detach()?.f_to_dtype(Kind::Float, false, true)?.f_contiguous()?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::seeded_randn;

    fn draw(size: &[i64], scale: f64, seed: i64) -> Tensor {
        seeded_randn(size, seed).unwrap() * scale
    }

    /// Weights and biases of a layer: query, key, value, attention output, intermediate, output, and
    /// both norms.
    struct Parameters(Vec<(Tensor, Tensor)>);

    impl Parameters {
        fn new(shape: LayerShape) -> Self {
            let LayerShape { hidden, intermediate, .. } = shape;
            let sizes = [(hidden, hidden); 4]
                .into_iter()
                .chain([(intermediate, hidden), (hidden, intermediate)]);
            let linear = (1..).zip(sizes).map(|(seed, (outputs, inputs))| {
                let scale = 1.5 / (inputs as f64).sqrt();
                (draw(&[outputs, inputs], scale, seed), draw(&[outputs], 0.3, 20 + seed))
            });
            let norms = (40..42)
                .map(|seed| (1.0 + draw(&[hidden], 0.2, seed), draw(&[hidden], 0.2, 10 + seed)));
            Self(linear.chain(norms).collect())
        }

        fn weights(&self) -> LayerWeights<'_> {
            let linear = |index: usize| {
                let (weight, bias) = &self.0[index];
                LinearWeights { weight, bias }
            };
            LayerWeights {
                projections: [0, 1, 2].map(linear),
                attention_output: linear(3),
                intermediate: linear(4),
                output: linear(5),
                attention_norm: linear(6),
                output_norm: linear(7),
            }
        }

        /// Computes the layer in float64 from weights rounded to bfloat16.
        fn reference(&self, shape: LayerShape, hidden: &Tensor, lengths: &[i64]) -> Tensor {
            let double = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16).to_kind(Kind::Double);
            let linear = |x: &Tensor, index: usize| {
                let (weight, bias) = &self.0[index];
                x.linear(&double(weight), Some(&bias.to_kind(Kind::Double)))
            };
            let norm = |x: &Tensor, index: usize| {
                let (weight, bias) = &self.0[index];
                let [weight, bias] = [weight, bias].map(|tensor| tensor.to_kind(Kind::Double));
                x.layer_norm([shape.hidden], Some(&weight), Some(&bias), shape.eps, false)
            };
            let rows = hidden.to_kind(Kind::Double).split_with_sizes(lengths, 0);
            let rows: Vec<Tensor> = rows
                .iter()
                .map(|row| {
                    let tokens = row.size()[0];
                    let heads = |index: usize| {
                        linear(row, index)
                            .view([tokens, shape.heads, shape.hidden / shape.heads])
                            .transpose(0, 1)
                    };
                    let [query, key, value] = [heads(0), heads(1), heads(2)];
                    let depth = (shape.hidden / shape.heads) as f64;
                    let scores = query.matmul(&key.transpose(1, 2)) / depth.sqrt();
                    let attended = scores.softmax(-1, Kind::Double).matmul(&value).transpose(0, 1);
                    let attended = attended.reshape([tokens, shape.hidden]);
                    let hidden = norm(&(linear(&attended, 3) + row), 6);
                    norm(&(linear(&linear(&hidden, 4).gelu("none"), 5) + &hidden), 7)
                })
                .collect();
            Tensor::cat(&rows, 0)
        }
    }

    fn states(tokens: i64, shape: LayerShape) -> Tensor {
        draw(&[tokens, shape.hidden], 1.0, 60).to_kind(Kind::BFloat16)
    }

    fn shape(hidden: i64, heads: i64, intermediate: i64) -> LayerShape {
        LayerShape { hidden, heads, intermediate, eps: 1e-5 }
    }

    /// Returns whether tests of the kernel run on this processor.
    fn is_supported() -> bool {
        let is_supported = EncoderLayer::supports(&shape(64, 2, 96));
        if !is_supported {
            eprintln!("not tested: this processor has no AVX-512 BF16");
        }
        is_supported
    }

    #[test]
    fn layers_equal_the_reference() {
        if !is_supported() {
            return;
        }
        for (shape, lengths) in [
            (shape(64, 2, 96), &[1i64, 15, 16, 17, 31, 32, 33, 0, 5][..]),
            (shape(128, 2, 32), &[300, 3]),
            (shape(128, 1, 512), &[40]),
            (shape(384, 12, 1536), &[150, 700]),
        ] {
            let parameters = Parameters::new(shape);
            let layer = EncoderLayer::new(shape, &parameters.weights()).unwrap();
            let hidden = states(lengths.iter().sum(), shape);
            let want = parameters.reference(shape, &hidden, lengths);
            for use_amx in [false, true] {
                let got = layer.apply_kernel(&hidden, lengths, use_amx).unwrap();
                assert_eq!((got.kind(), got.size()), (Kind::BFloat16, hidden.size()));
                let difference = got.to_kind(Kind::Double) - &want;
                let error = difference.square().mean(Kind::Double).sqrt().double_value(&[]);
                let largest = difference.abs().max().double_value(&[]);
                // The outputs have a standard deviation of about 1; bfloat16 has 8 bits.
                assert!(error < 0.006 && largest < 0.06, "{shape:?}: {error}, {largest}");
            }
        }
    }

    #[test]
    fn rows_depend_neither_on_other_rows_nor_on_threads() {
        if !is_supported() {
            return;
        }
        let shape = shape(128, 4, 160);
        let layer = EncoderLayer::new(shape, &Parameters::new(shape).weights()).unwrap();
        let lengths = [7i64, 290, 33, 1];
        let hidden = states(lengths.iter().sum(), shape);
        let threads = tch::get_num_threads();
        for use_amx in [false, true] {
            let apply = |hidden: &Tensor, lengths: &[i64]| {
                layer.apply_kernel(hidden, lengths, use_amx).unwrap()
            };
            let together = apply(&hidden, &lengths);
            let rows = hidden.split_with_sizes(lengths, 0);
            let separate: Vec<Tensor> =
                lengths.iter().zip(&rows).map(|(&length, row)| apply(row, &[length])).collect();
            assert_eq!(Tensor::cat(&separate, 0), together);
            tch::set_num_threads(threads + 1);
            assert_eq!(apply(&hidden, &lengths), together);
            tch::set_num_threads(threads);
        }
    }

    #[test]
    fn later_matmuls_of_libtorch_stay_correct() {
        if !is_supported() {
            return;
        }
        let shape = shape(64, 2, 96);
        let layer = EncoderLayer::new(shape, &Parameters::new(shape).weights()).unwrap();
        let hidden = states(80, shape);
        let product = || hidden.matmul(&hidden.transpose(0, 1));
        let before = product();
        for _ in 0..2 {
            let _ = layer.apply(&hidden, &[80]).unwrap();
            assert_eq!(product(), before);
        }
    }

    #[test]
    fn unsupported_shapes_and_inputs_are_errors() {
        for unsupported in [
            shape(48, 1, 96),
            shape(64, 3, 96),
            shape(64, 4, 96),
            shape(64, 2, 40),
            shape(256, 1, 32),
        ] {
            assert!(!EncoderLayer::supports(&unsupported), "{unsupported:?}");
        }
        if !is_supported() {
            return;
        }
        let shape = shape(64, 2, 96);
        let parameters = Parameters::new(shape);
        let layer = EncoderLayer::new(shape, &parameters.weights()).unwrap();
        let hidden = states(5, shape);
        for (hidden, lengths, message) in [
            (hidden.shallow_clone(), &[2i64, 2][..], "the rows have 4 tokens, hidden 5"),
            (hidden.shallow_clone(), &[6, -1], "row 1 has -1 tokens"),
            (hidden.to_kind(Kind::Float), &[5], "bfloat16 on the CPU"),
            (hidden.narrow(1, 0, 32), &[5], "expected hidden states [N, 64]"),
            (hidden.copy().set_requires_grad(true), &[5], "no backward pass"),
        ] {
            let error = layer.apply(&hidden, lengths).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let weight = Tensor::zeros([64, 32], (Kind::Float, Device::Cpu));
        let output = LinearWeights { weight: &weight, ..parameters.weights().output };
        let weights = LayerWeights { output, ..parameters.weights() };
        let error = EncoderLayer::new(shape, &weights).unwrap_err().to_string();
        assert!(error.contains("expected a weight [64, 96], got [64, 32]"), "{error}");
    }
}
