//! Tests of packed weights for inference in bfloat16.
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{EncoderLayer, LayerShape, Precision};
use xlmr_model::{
    Activation, Architecture, Config, Head, Inputs, LoadOptions, LoraConfig, Model, RemBert,
};

use crate::adapters::perturb;
use crate::common::{frobenius_error, lock_generator, wide_config};

/// Returns a configuration with a shape that the kernel supports, and large weights.
fn config(architecture: Architecture) -> Config {
    Config { initializer_range: 0.1, ..wide_config(architecture) }
}

fn new_model(config: &Config, precision: Precision, is_packed: bool) -> Model {
    let mut model = Model::new(config, &[], Device::Cpu, 3).unwrap();
    model.set_precision(precision).unwrap();
    if is_packed {
        model.pack_weights().unwrap();
    }
    model
}

/// Computes the hidden states of two rows of 6 and 3 tokens, with zeros at padding.
fn encode(model: &Model) -> Tensor {
    let inputs = Inputs::from_rows(&[&[0, 7, 8, 31, 17, 2], &[0, 9, 2]], 1).unwrap();
    let mask = inputs.attention_mask.as_ref().unwrap().unsqueeze(-1);
    no_grad(|| model.encode(&inputs, false)).unwrap() * mask
}

/// Returns whether this processor has the instructions of the kernel.
fn has_kernel() -> bool {
    EncoderLayer::supports(&LayerShape { hidden: 256, heads: 4, intermediate: 128, eps: 1e-5 })
}

#[test]
fn packed_weights_are_as_precise_as_bfloat16() {
    let _guard = lock_generator();
    let rembert = RemBert { input_embedding_size: 64, output_embedding_size: 96 };
    for architecture in
        [Architecture::XlmRoberta, Architecture::Bert, Architecture::RemBert(rembert)]
    {
        let config = config(architecture);
        let float32 = encode(&new_model(&config, Precision::F32, false));
        let unpacked = encode(&new_model(&config, Precision::Bf16, false));
        let mut model = new_model(&config, Precision::Bf16, true);
        let packed = encode(&model);
        assert_eq!(packed.kind(), Kind::Float);
        assert_eq!(packed != unpacked, has_kernel(), "{:?}", config.architecture);
        let [error, unpacked_error] = [&packed, &unpacked].map(|x| frobenius_error(x, &float32));
        assert!(error < 1.2 * unpacked_error, "{error} {unpacked_error}");
        model.set_precision(Precision::Bf16).unwrap();
        assert_eq!(encode(&model), unpacked);
        model.set_precision(Precision::F32).unwrap();
        model.pack_weights().unwrap();
        assert_eq!(encode(&model), float32);
    }
}

#[test]
fn training_gradients_adapters_and_other_layers_use_the_parameters() {
    let _guard = lock_generator();
    let config = config(Architecture::XlmRoberta);
    let mut model = new_model(&config, Precision::Bf16, true);
    let mut reference = new_model(&config, Precision::Bf16, false);
    let inputs = Inputs::from_rows(&[&[0, 7, 8, 31, 17, 2]], 1).unwrap();
    let with_gradient = model.encode(&inputs, false).unwrap();
    assert!(with_gradient.requires_grad());
    assert_eq!(with_gradient, reference.encode(&inputs, false).unwrap());
    let encode_for_training = |model: &Model| {
        tch::manual_seed(5);
        no_grad(|| model.encode(&inputs, true)).unwrap()
    };
    assert_eq!(encode_for_training(&model), encode_for_training(&reference));
    // A LoRA that is activated after packing.
    let without_lora = encode(&reference);
    for model in [&mut model, &mut reference] {
        model.add_lora("es", &LoraConfig::default(), 7).unwrap();
        perturb(model, "es");
        model.set_active_adapters(&["es"]).unwrap();
    }
    assert_eq!(encode(&model), encode(&reference));
    assert_ne!(encode(&reference), without_lora);
    // Layers without a kernel are not packed.
    let relu = Config { hidden_act: Activation::Relu, ..config };
    let [packed, unpacked] = [true, false].map(|pack| new_model(&relu, Precision::Bf16, pack));
    assert_eq!(encode(&packed), encode(&unpacked));
}

#[test]
fn models_loaded_for_inference_are_packed() {
    let _guard = lock_generator();
    let folder = tempfile::tempdir().unwrap();
    let model = new_model(&config(Architecture::Bert), Precision::Bf16, true);
    model.save(folder.path(), Head::None).unwrap();
    for (inference, precision) in
        [(true, Precision::Bf16), (false, Precision::Bf16), (true, Precision::F32)]
    {
        let options = LoadOptions { inference, precision, ..LoadOptions::default() };
        let (loaded, _) = Model::load(folder.path(), &[], Device::Cpu, options).unwrap();
        let is_packed = inference && precision == Precision::Bf16;
        let expected = new_model(&config(Architecture::Bert), precision, is_packed);
        assert_eq!(encode(&loaded), encode(&expected));
    }
}
