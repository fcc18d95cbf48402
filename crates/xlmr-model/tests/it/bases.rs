//! Test of the base model in `data/base`.
use tch::{Device, Kind, Reduction, Tensor};
use testkit::fixture;
use xlmr_model::{Head, Inputs, LoadOptions, Pretrained};

/// English text that is not in the training data.
const TEXT: &str = "The window opens when you press the button at the top of the screen. To change \
     the size of the text, choose another value in the list and save the file. The city lies on a \
     river in the north of the country, and was the capital of the kingdom for two hundred years.";

#[test]
fn the_base_model_predicts_masked_tokens_and_spans() {
    let folder = fixture("../../../data/base");
    let heads = [Head::MaskedLm, Head::Span];
    let (base_model, report) =
        Pretrained::load(&folder, &heads, Device::Cpu, LoadOptions::default()).unwrap();
    assert!(report.missing.is_empty() && report.unexpected.is_empty(), "{report:?}");
    let model = &base_model.model;
    let encoding = base_model.tokenizer.encode(TEXT, true).unwrap();
    let ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
    let length = ids.len() as i64;
    // Each row is the whole text with one masked token, at a different position in each row.
    let positions = Tensor::arange_start(1, length - 1, (Kind::Int64, Device::Cpu));
    let ids = Tensor::from_slice(&ids);
    let rows = ids.repeat([length - 2, 1]);
    let mask = i64::from(base_model.special_tokens.mask);
    let masked_ids = rows.scatter_value(1, &positions.unsqueeze(1), mask);
    let _no_grad = tch::no_grad_guard();
    // In the base model's training, passages like this text were the second segment.
    let token_type_ids = Some(masked_ids.ones_like());
    let inputs = Inputs { token_type_ids, ..Inputs::new(masked_ids) };
    let states = model.encode(&inputs, false).unwrap();
    let index = positions.view([-1, 1, 1]).expand([-1, 1, states.size()[2]], false);
    let logits = model.mlm_logits(&states.gather(1, &index, false).squeeze_dim(1)).unwrap();
    let targets = ids.narrow(0, 1, length - 2);
    let loss = logits.cross_entropy_loss::<Tensor>(&targets, None, Reduction::Mean, -100, 0.0);
    let (loss, uniform_loss) = (loss.double_value(&[]), (logits.size()[1] as f64).ln());
    assert!(loss < 0.75 * uniform_loss, "{loss} nats; a uniform distribution has {uniform_loss}");
    let (start, end) = model.span_logits(&states, false).unwrap();
    assert_eq!((start.size(), end.size()), (vec![length - 2, length], vec![length - 2, length]));
}
