//! Models in a [`Fingerprint`].
use torch_ext::Precision;
use trainer::{Fingerprint, FingerprintExt};
use xlmr_model::Model;

/// Adds the architecture, options and parameters of a model, but no paths. The fingerprint
/// identifies stored results of the model.
pub(crate) fn add_model(fingerprint: &mut Fingerprint, model: &Model) {
    fingerprint.add_json("config", &model.config().to_json());
    // Other segments than those of the architecture's own tokenizer change the model's outputs.
    if model.pair_segments() != model.config().default_pair_segments() {
        fingerprint.add_json("pair_segments", &model.pair_segments());
    }
    if model.precision() != Precision::F32 {
        fingerprint.add("precision", model.precision().name());
    }
    for (name, parameter) in model.named_parameters() {
        fingerprint.add_tensor(&name, &parameter);
    }
}
