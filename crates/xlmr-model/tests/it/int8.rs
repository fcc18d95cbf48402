//! Tests of inference with linear layers in 8 bits.
use tch::{Device, Kind, Tensor};
use torch_ext::Precision;
use xlmr_model::{
    Architecture, Config, DebertaV2, EuroBert, Inputs, LoraConfig, Model, ModernBert, MpNet,
    RemBert,
};

use crate::common::{frobenius_error, lock_generator, wide_config};

fn architectures() -> Vec<Config> {
    let deberta = DebertaV2 { position_buckets: 8, ..DebertaV2::v3() };
    [
        Architecture::XlmRoberta,
        Architecture::Bert,
        Architecture::ModernBert(ModernBert::new(3)),
        Architecture::EuroBert(EuroBert::default()),
        Architecture::DebertaV2(deberta),
        Architecture::XlmRobertaXl,
        Architecture::RemBert(RemBert { input_embedding_size: 64, output_embedding_size: 96 }),
        Architecture::MpNet(MpNet::default()),
    ]
    .map(wide_config)
    .into()
}

fn two_rows() -> Inputs {
    Inputs::from_rows(&[&[0, 7, 8, 31, 17, 2], &[0, 9, 2]], 1).unwrap()
}

fn encode(model: &Model) -> Tensor {
    let hidden = model.encode(&two_rows(), false).unwrap();
    assert_eq!(hidden.kind(), Kind::Float);
    let mask = two_rows().attention_mask.unwrap();
    hidden * mask.unsqueeze(-1)
}

#[test]
fn int8_is_close_to_float32_and_float32_is_restored_exactly() {
    let _guard = lock_generator();
    for config in architectures() {
        let name = config.architecture.model_type();
        let mut model = Model::new(&config, &[], Device::Cpu, 1).unwrap();
        let float32_states = encode(&model);
        model.set_precision(Precision::Int8).unwrap();
        let int8 = encode(&model);
        let relative_error = frobenius_error(&int8, &float32_states);
        assert!(relative_error > 1e-4 && relative_error < 0.05, "{name}: {relative_error}");
        assert_eq!(encode(&model), int8, "{name}");
        model.set_precision(Precision::F32).unwrap();
        assert_eq!(encode(&model), float32_states, "{name}");
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let _guard = lock_generator();
    let mut model = Model::new(&wide_config(Architecture::Bert), &[], Device::Cpu, 1).unwrap();
    model.set_precision(Precision::Int8).unwrap();
    let row_in_batch = encode(&model).get(1).narrow(0, 0, 3);
    let single = Inputs::from_rows(&[&[0, 9, 2]], 1).unwrap();
    let single = model.encode(&single, false).unwrap().get(0);
    assert!(frobenius_error(&row_in_batch, &single) < 1e-3);
}

#[test]
fn adapters_add_to_layers_in_int8() {
    let _guard = lock_generator();
    let mut model =
        Model::new(&wide_config(Architecture::XlmRoberta), &[], Device::Cpu, 1).unwrap();
    model.add_lora("a", &LoraConfig::default(), 3).unwrap();
    for (name, parameter) in model.named_parameters() {
        if name.contains("lora_B") {
            let _ = tch::no_grad(|| parameter.shallow_clone().fill_(0.05));
        }
    }
    let float32_states = encode(&model);
    model.set_precision(Precision::Int8).unwrap();
    let relative_error = frobenius_error(&encode(&model), &float32_states);
    assert!(relative_error > 1e-4 && relative_error < 0.05, "{relative_error}");
}

#[test]
fn training_and_other_dtypes_are_rejected() {
    let _guard = lock_generator();
    let mut model = Model::new(&wide_config(Architecture::Bert), &[], Device::Cpu, 1).unwrap();
    model.set_precision(Precision::Int8).unwrap();
    let error = model.encode(&two_rows(), true).unwrap_err().to_string();
    assert!(error.contains("for training") && error.contains("int8"), "{error}");
    let error = model.set_kind(Kind::Double).unwrap_err().to_string();
    assert!(error.contains("Float with precision int8, got Double"), "{error}");
}
