//! Tests of the matrices and outputs of quantised model folders.
use std::path::Path;

use serde_json::Value;
use tch::Tensor;
use torch_ext::Precision;
use xlmr_model::{Head, Inputs, Model, quantize};

use crate::common::{edit_tensors, lock_generator, open_folder, program_with_model, read_json};

fn load(folder: &Path) -> Model {
    let (model, report) = open_folder(folder, &[Head::MaskedLm]).unwrap();
    assert!(report.unexpected.is_empty() && report.missing.is_empty(), "{report:?}");
    model
}

fn encode_row(model: &Model) -> Tensor {
    let inputs = Inputs::from_rows(&[&[0, 7, 8, 31, 17, 2]], 1).unwrap();
    model.encode(&inputs, false).unwrap()
}

/// Returns half the step between quantised values of each row, `[rows, 1]`. The largest magnitude
/// in a row is 127 steps.
fn half_steps(matrix: &Tensor) -> Tensor {
    matrix.abs().amax([1i64].as_slice(), true) / (2.0 * 127.0)
}

#[test]
fn matrices_are_rounded_and_vectors_are_unchanged() {
    let program = program_with_model();
    let printed = program.expect_success("quantize --model model --out small").out;
    let (before, after) = (load(&program.path_of("model")), load(&program.path_of("small")));
    let mut n_matrices = 0;
    let quantized = after.named_parameters();
    for ((name, original), (_, quantized_tensor)) in
        before.named_parameters().into_iter().zip(quantized)
    {
        if original.dim() == 2 && original.size().iter().all(|&size| size >= 64) {
            n_matrices += 1;
            let excess = ((&quantized_tensor - &original).abs()
                - half_steps(&original) * (1.0 + 1e-4))
                .max();
            assert!(excess.double_value(&[]) <= 0.0, "{name}: {excess:?}");
            assert!(!quantized_tensor.equal(&original), "{name}");
        } else {
            assert!(quantized_tensor.equal(&original), "{name}");
        }
    }
    assert!(printed.contains(&format!("8-bit matrices  {n_matrices}\n")), "{printed}");
    let size = |file: &str| program.read_bytes(file).len();
    let (quantized_size, original_size) =
        (size("small/model.int8.safetensors"), size("model/model.safetensors"));
    assert!(quantized_size * 100 < original_size * 28, "{quantized_size} of {original_size}");
    // There is no `model.safetensors`, so programs that do not support 8-bit matrices cannot load
    // the integers as weights.
    assert!(!program.path_of("small/model.safetensors").exists());
    assert_eq!(program.read("small/tokenizer.json"), program.read("model/tokenizer.json"));
    let info = program.expect_success("info --model small").out;
    assert!(info.contains(&format!("stored as I8     {n_matrices} tensors")), "{info}");
    // After saving again, the weights are float32, and other programs can load them.
    after.save(program.path_of("saved"), Head::MaskedLm).unwrap();
    let config = read_json(&program.path_of("saved/config.json"));
    assert_eq!(config["quantization_config"], Value::Null);
    assert!(encode_row(&load(&program.path_of("saved"))).equal(&encode_row(&after)));
}

#[test]
fn linear_layers_in_8_bits_compute_with_the_same_integers() {
    let _guard = lock_generator();
    let program = program_with_model();
    quantize(program.path_of("model"), program.path_of("small"), false).unwrap();
    let [mut original, mut quantized] = ["model", "small"].map(|name| load(&program.path_of(name)));
    // Only the rounding of embeddings changes the results, so the original model gets the rounded
    // embeddings.
    let quantized_parameters = quantized.named_parameters();
    tch::no_grad(|| {
        for ((name, mut original), (_, quantized_tensor)) in
            original.named_parameters().into_iter().zip(quantized_parameters)
        {
            if name.contains("embeddings") {
                original.copy_(&quantized_tensor);
            }
        }
    });
    let float32 = encode_row(&original);
    original.set_precision(Precision::Int8).unwrap();
    quantized.set_precision(Precision::Int8).unwrap();
    let (expected, actual) = (encode_row(&original), encode_row(&quantized));
    let distance = |a: &Tensor, b: &Tensor| (a - b).norm().double_value(&[]);
    let (change, int8_error) = (distance(&expected, &actual), distance(&expected, &float32));
    // The results differ slightly: the scales are rounded again, which can change the rounding of
    // some activations.
    assert!(change < 0.02 * int8_error, "{change:e}, 8 bits change {int8_error:e}");
}

#[test]
fn quantized_folders_can_be_trimmed() {
    let program = program_with_model();
    program.write("texts.txt", "Lima is the capital of Peru.\n");
    program.expect_success("quantize --model model --out small");
    program.expect_success("trim --model small --texts texts.txt --out small-trimmed");
    program.expect_success("trim --model model --texts texts.txt --out trimmed");
    program.expect_success("quantize --model trimmed --out trimmed-small");
    let weights = |folder: &str| program.read_bytes(&format!("{folder}/model.int8.safetensors"));
    assert!(weights("small-trimmed") == weights("trimmed-small"));
}

#[test]
fn damaged_and_unsuitable_folders_are_rejected() {
    let program = program_with_model();
    let command = "quantize --model model --out small";
    program.expect_success(command);
    program.expect_only_error(command, &["small", "--force"]);
    program
        .expect_only_error("quantize --model small --out again", &["quantization_config", "none"]);
    program.expect_only_error("quantize --model missing --out again", &["missing"]);
    assert!(!program.path_of("again").exists());
    // An 8-bit matrix without its scales is rejected.
    let path = program.path_of("small/model.int8.safetensors");
    let matrix = "embeddings.word_embeddings.weight";
    let scale = format!("{matrix}_scale");
    edit_tensors(&path, |tensors| tensors.retain(|name, _| !name.ends_with(&scale)));
    program.expect_only_error("info --model small", &[matrix, "dtype F32, F16 or BF16", "I8"]);
    // Scales of another shape are rejected.
    program.expect_success(&format!("{command} --force"));
    edit_tensors(&path, |tensors| {
        let (_, tensor) = tensors.iter_mut().find(|(name, _)| name.ends_with(&scale)).unwrap();
        *tensor = tensor.reshape([1, -1]);
    });
    program.expect_only_error("info --model small", &[&scale, "shape [4000, 1]"]);
    // A non-finite element is rejected.
    let path = program.path_of("model/model.safetensors");
    edit_tensors(&path, |tensors| {
        let (_, tensor) = tensors.iter().find(|(name, _)| name.ends_with(matrix)).unwrap();
        let _ = tensor.get(3).get(5).fill_(f64::NAN);
    });
    program.expect_only_error(&format!("{command} --force"), &[matrix, "finite"]);
    assert!(program.path_of("small/config.json").exists());
}
