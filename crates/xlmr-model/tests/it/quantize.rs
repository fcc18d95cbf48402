//! Tests of the matrices and outputs of quantised and exported model folders.
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use tch::{Device, Kind, Tensor};
use testkit::Program;
use torch_ext::{Int8Linear, TensorFile};
use xlmr_model::{Head, Inputs, Inspection, LoadOptions, Model, QuantizeOptions, quantize};

use crate::common::{
    assert_equal_parameters, edit_tensors, open_folder, program_with_model, read_json, read_tensors,
};

const EMBEDDINGS: &str = "roberta.embeddings.word_embeddings.weight";

/// Creates the program with a model whose token embeddings are on a 4-bit grid: each block of 32
/// elements consists of multiples of a float16 number.
fn program_with_grid() -> Program {
    let program = program_with_model();
    edit_tensors(&program.path_of("model/model.safetensors"), |tensors| {
        let blocks = tensors[EMBEDDINGS].reshape([-1, 32]);
        let scales = (blocks.abs().amax([1i64].as_slice(), true) / -8.0).to_kind(Kind::Half);
        let scales = scales.to_kind(Kind::Float);
        let multiples = (&blocks / &scales).round().clamp(-8.0, 7.0);
        // Zeros are products with the integer 0, so their sign is that of the scale.
        let grid = multiples.to_kind(Kind::Int8).to_kind(Kind::Float) * scales;
        tensors.insert(EMBEDDINGS.into(), grid.view([4000, 128]));
    });
    program
}

fn has_equal_bits(a: &Tensor, b: &Tensor) -> bool {
    a.view_dtype(Kind::Int).equal(&b.view_dtype(Kind::Int))
}

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
    let expected = format!(
        "4-bit matrices    0\n8-bit matrices    {n_matrices}\ntoken embeddings  rounded to 8 bits\n"
    );
    assert!(printed.starts_with(&expected), "{printed}");
    let config = read_json(&program.path_of("small/config.json"));
    assert_eq!(config["quantization_config"]["quant_method"], "polyqa-int8");
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
    let program = program_with_model();
    let options = QuantizeOptions::default();
    quantize(program.path_of("model"), program.path_of("small"), options).unwrap();
    let [original, quantized] = ["model", "small"].map(|name| load(&program.path_of(name)));
    let mut n_layers = 0;
    for ((name, original), (_, quantized)) in
        original.named_parameters().into_iter().zip(quantized.named_parameters())
    {
        if original.dim() != 2 || name.contains("embeddings") {
            continue;
        }
        n_layers += 1;
        let inputs = original.size()[1];
        let x = Tensor::arange(5 * inputs, (Kind::Float, Device::Cpu)).sin().view([5, inputs]);
        let [expected, actual] = [&original, &quantized].map(|weight| {
            let layer = Int8Linear::new(weight, None).unwrap();
            layer.apply(&x, false, Kind::Float).unwrap()
        });
        // Only the scales differ, by their rounding. Another integer would change an output by a
        // step of the weight times an input, more than 1e-4 of the largest output. Outputs of the
        // whole model are not compared: one activation that is rounded in the other direction
        // changes those of all later layers.
        let error = (&actual - &expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(error < 1e-5 * largest, "{name}: {error:e} of {largest:e}");
        assert!(!quantized.equal(&original), "{name}");
    }
    assert_eq!(n_layers, 1 + 3 * 6); // the masked-LM head's layer and three layers
}

#[test]
fn matrices_on_a_4_bit_grid_are_stored_without_loss() {
    let program = program_with_grid();
    let printed =
        program.expect_success("quantize --model model --out small --lossless-embeddings").out;
    let (before, after) = (load(&program.path_of("model")), load(&program.path_of("small")));
    let embeddings = before.word_embeddings();
    assert!(has_equal_bits(after.word_embeddings(), embeddings));
    let n_others = 2 + 3 * 6; // position embeddings, the masked-LM head's layer and three layers
    let expected = format!(
        "4-bit matrices    1\n8-bit matrices    {n_others}\ntoken embeddings  stored without loss\n"
    );
    assert!(printed.starts_with(&expected), "{printed}");
    // The layout is documented, so it is read here without this crate.
    let stored = read_tensors(&program.path_of("small/model.int8.safetensors"));
    let (bytes, scales) = (&stored[EMBEDDINGS], &stored[&*format!("{EMBEDDINGS}_scale")]);
    assert_eq!((bytes.kind(), bytes.size()), (Kind::Uint8, vec![4000, 64]));
    assert_eq!((scales.kind(), scales.size()), (Kind::Half, vec![4000, 4]));
    for (row, column) in [(0, 0), (3, 31), (3, 32), (17, 127), (3999, 126)] {
        let byte = bytes.int64_value(&[row, column / 2]);
        let level = if column % 2 == 0 { byte % 16 } else { byte / 16 };
        let element = (level - 8) as f64 * scales.double_value(&[row, column / 32]);
        assert_eq!(element, embeddings.double_value(&[row, column]), "{row} {column}");
    }
    // Versions without matrices in 4 bits reject the folder because of its configuration.
    let config = read_json(&program.path_of("small/config.json"));
    assert_eq!(config["quantization_config"]["quant_method"], "polyqa-int4-int8");
    let info = program.expect_success("info --model small").out;
    assert!(info.contains("stored as I4     1 tensors"), "{info}");
    let inspection = Inspection::of_folder(program.path_of("small")).unwrap();
    assert_eq!(inspection.dtypes.iter().collect::<Vec<_>>(), ["F32", "I4", "I8"]);
    let expected = Inspection::of_folder(program.path_of("model")).unwrap().parameters;
    assert_eq!(inspection.parameters, expected);
    // Mapped weights are equal.
    let options = LoadOptions { inference: true, ..LoadOptions::default() };
    let folder = program.path_of("small");
    let (mapped, _) = Model::load(folder, &[Head::MaskedLm], Device::Cpu, options).unwrap();
    assert_equal_parameters(&mapped, &after);
}

#[test]
fn trained_embeddings_are_rounded_or_rejected() {
    let program = program_with_grid();
    edit_tensors(&program.path_of("model/model.safetensors"), |tensors| {
        let _ = tensors[EMBEDDINGS].get(3999).get(5).fill_(0.3);
    });
    program.expect_only_error(
        "quantize --model model --out small --lossless-embeddings",
        &[EMBEDDINGS, "4-bit grid", "without loss"],
    );
    assert!(!program.path_of("small").exists());
    let printed = program.expect_success("quantize --model model --out small").out;
    assert!(printed.contains("token embeddings  rounded to 8 bits"), "{printed}");
}

#[test]
fn lossless_folders_are_exported_with_equal_bits() {
    let program = program_with_grid();
    let printed = program.expect_success("quantize --model model --out small --lossless").out;
    assert!(printed.starts_with("4-bit matrices    1\n8-bit matrices    0\n"), "{printed}");
    assert!(printed.contains("token embeddings  stored without loss"), "{printed}");
    program.expect_success("export --model small --out back --dtype f32");
    let stored =
        |folder: &str| read_tensors(&program.path_of(&format!("{folder}/model.safetensors")));
    let [before, after] = ["model", "back"].map(stored);
    assert!(before.keys().eq(after.keys()));
    for (name, tensor) in &before {
        assert!(has_equal_bits(tensor, &after[name]), "{name}");
    }
    assert_equal_parameters(&load(&program.path_of("small")), &load(&program.path_of("model")));
    // The two requirements differ: the other one rounds the other matrices.
    program.expect_only_error(
        "quantize --model model --out other --lossless --lossless-embeddings",
        &["--lossless", "cannot be used with"],
    );
}

#[test]
fn exported_folders_have_the_values_of_quantized_folders() {
    let program = program_with_grid();
    program.write("model/calibration.json", "{}");
    program.expect_success("quantize --model model --out small");
    let printed = program.expect_success("export --model small --out f16").out;
    assert!(printed.starts_with("quantised matrices  21\n"), "{printed}");
    program.expect_success("export --model small --out f32 --dtype f32");
    let quantized = load(&program.path_of("small"));
    assert_equal_parameters(&load(&program.path_of("f32")), &quantized);
    let rounded = load(&program.path_of("f16"));
    for ((name, rounded), (_, exact)) in
        rounded.named_parameters().into_iter().zip(quantized.named_parameters())
    {
        assert!(rounded.equal(&exact.to_kind(Kind::Half).to_kind(Kind::Float)), "{name}");
    }
    let (expected, actual) = (encode_row(&quantized), encode_row(&rounded));
    let difference = (&expected - actual).abs().max().double_value(&[]);
    let size = expected.abs().max().double_value(&[]);
    assert!(difference > 0.0 && difference < 2e-3 * size, "{difference} of {size}");
    for (folder, dtype) in [("f16", "F16"), ("f32", "F32")] {
        for file in ["model.safetensors", "heads.safetensors"] {
            let [original, exported] = ["model", folder].map(|folder| {
                TensorFile::open(program.path_of(&format!("{folder}/{file}"))).unwrap()
            });
            let names = exported.names();
            assert_eq!(names, original.names());
            assert!(names.iter().all(|name| exported.dtype(name).as_deref() == Some(dtype)));
        }
        let config = read_json(&program.path_of(&format!("{folder}/config.json")));
        assert_eq!(config.get("quantization_config"), None);
        assert_eq!(config["dtype"], "float32");
        for file in ["tokenizer.json", "tokenizer_config.json", "calibration.json"] {
            assert_eq!(
                program.read(&format!("{folder}/{file}")),
                program.read(&format!("model/{file}"))
            );
        }
        assert!(!program.path_of(&format!("{folder}/model.int8.safetensors")).exists());
    }
    // A folder that is not quantised keeps its values, too.
    program.expect_success("export --model model --out same --dtype f32");
    assert_equal_parameters(&load(&program.path_of("same")), &load(&program.path_of("model")));
}

#[test]
fn folders_that_cannot_be_exported_are_rejected() {
    let program = program_with_grid();
    program.expect_success("quantize --model model --out small");
    let command = "export --model small --out out";
    program.expect_success(command);
    program.expect_only_error(command, &["out", "--force"]);
    program.expect_success(&format!("{command} --force"));
    program.expect_only_error("export --model small --out small --force", &["small"]);
    program.expect_only_error("export --model missing --out other", &["missing"]);
    let scales = format!("{EMBEDDINGS}_scale");
    edit_tensors(&program.path_of("small/model.int8.safetensors"), |tensors| {
        tensors.remove(&scales);
    });
    program.expect_only_error("export --model small --out other", &[EMBEDDINGS, &scales, "U8"]);
    edit_tensors(&program.path_of("model/model.safetensors"), |tensors| {
        let _ = tensors["lm_head.bias"].get(7).fill_(7e4);
    });
    program.expect_only_error(
        "export --model model --out other",
        &["lm_head.bias", "65504", "use float32"],
    );
    assert!(!program.path_of("other").exists());
    program.expect_success("export --model model --out other --dtype f32");
    let config = program.read("model/config.json");
    let method = "{\n  \"quantization_config\": {\"quant_method\": \"gptq\"},";
    program.write("model/config.json", config.replacen('{', method, 1));
    program.expect_only_error(
        "export --model model --out third",
        &["quantization_config", "xlmr-model quantize", "gptq"],
    );
}

/// `cargo xtask pretrained` writes this encoder from a file in 4 bits.
#[test]
fn pretrained_encoder_is_stored_without_loss() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.pretrained");
    let folder = root.join("multilingual-e5-small-trimmed");
    if !folder.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a test with the pretrained encoder; `cargo xtask pretrained` downloads it"
        );
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("small");
    let options = QuantizeOptions { lossless_embeddings: true, ..QuantizeOptions::default() };
    let report = quantize(&folder, &out, options).unwrap();
    // All matrices of the layers are on a grid as well, but the position embeddings are not.
    assert_eq!((report.int4_tensors, report.int8_tensors), (1 + 12 * 6, 1));
    assert!(report.bytes * 7 < report.bytes_before, "{report:?}");
    let [before, after] =
        [&folder, &out].map(|folder| open_folder(folder, &[Head::None]).unwrap().0);
    assert!(has_equal_bits(after.word_embeddings(), before.word_embeddings()));
    for ((name, before), (_, after)) in
        before.named_parameters().into_iter().zip(after.named_parameters())
    {
        let is_equal = has_equal_bits(&before, &after);
        assert_eq!(is_equal, !name.ends_with("position_embeddings.weight"), "{name}");
    }
}

#[test]
fn quantized_folders_can_be_trimmed() {
    for program in [program_with_model(), program_with_grid()] {
        check_trimming(&program);
    }
}

/// Checks that the order of trimming and quantization does not matter.
fn check_trimming(program: &Program) {
    program.write("texts.txt", "Lima is the capital of Peru.\n");
    program.expect_success("quantize --model model --out small");
    program.expect_success("trim --model small --texts texts.txt --out small-trimmed");
    program.expect_success("trim --model model --texts texts.txt --out trimmed");
    program.expect_success("quantize --model trimmed --out trimmed-small");
    let weights = |folder: &str| program.read_bytes(&format!("{folder}/model.int8.safetensors"));
    assert!(weights("small-trimmed") == weights("trimmed-small"));
}

type EditFn = fn(&mut BTreeMap<String, Tensor>);

fn edit_scales(tensors: &mut BTreeMap<String, Tensor>, edit: impl FnOnce(&Tensor) -> Tensor) {
    let name = format!("{EMBEDDINGS}_scale");
    let scales = edit(&tensors[&name]).contiguous();
    tensors.insert(name, scales);
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
    program.expect_only_error(
        "info --model small",
        &[matrix, "dtype F32, F16 or BF16", &scale, "I8 without these scales"],
    );
    // 4-bit matrices without scales, or with wrong scales, are rejected.
    let grid = program_with_grid();
    let path_of_grid = grid.path_of("small/model.int8.safetensors");
    let scales = format!("{EMBEDDINGS}_scale");
    for (edit, parts) in [
        (
            (|tensors| drop(tensors.remove(&*format!("{EMBEDDINGS}_scale")))) as EditFn,
            [EMBEDDINGS, "U8 without these scales"],
        ),
        (
            |tensors| edit_scales(tensors, |scales| scales.narrow(1, 0, 3)),
            [&scales, "expected shape [4000, 4], for the scales of"],
        ),
        (
            |tensors| edit_scales(tensors, |scales| scales.to_kind(Kind::Int)),
            [&scales, "expected dtype F32, F16 or BF16, got I32"],
        ),
        (
            |tensors| {
                let bytes = tensors[EMBEDDINGS].narrow(1, 0, 48).contiguous();
                tensors.insert(EMBEDDINGS.into(), bytes);
            },
            [EMBEDDINGS, "expected shape [4000, 128] according to config.json, got [4000, 96]"],
        ),
    ] {
        grid.expect_success("quantize --model model --out small --force");
        edit_tensors(&path_of_grid, edit);
        grid.expect_only_error("info --model small", &parts);
    }
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
