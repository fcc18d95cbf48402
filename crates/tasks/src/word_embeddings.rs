//! Rescaling of token embeddings, whose scale can drift in training on short sequences.
use tch::Kind;
use xlmr_model::Model;

use crate::Result;

/// Centers the token embeddings and scales each to the norm `norm`; the embedding of `<pad>`
/// becomes 0.
///
/// Training on triples at a high learning rate increases the norm of token embeddings, so that the
/// added position and segment embeddings lose their effect. Centering removes the common component
/// of all tokens. As `norm`, pass the [`mean_norm`] of the model before this training.
///
/// # Errors
/// [`Error::Torch`](crate::Error::Torch) if libtorch fails.
///
/// # Example
/// ```
/// use tasks::word_embeddings::{center_and_scale, mean_norm};
/// use xlmr_model::{Config, Model};
///
/// let model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
/// let norm = mean_norm(&model)?;
/// // … training on triples …
/// center_and_scale(&model, norm)?;
/// // 49 of 50 vectors have this norm; the vector of <pad> is 0.
/// assert!((mean_norm(&model)? - norm * 49.0 / 50.0).abs() < 1e-6);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn center_and_scale(model: &Model, norm: f64) -> Result<()> {
    tch::no_grad(|| -> Result<()> {
        let mut embeddings = model.word_embeddings().shallow_clone();
        let centered =
            embeddings.f_sub(&embeddings.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centered.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        embeddings.f_copy_(&centered.f_div(&norms)?.f_mul_scalar(norm)?)?;
        let mut pad = embeddings.f_select(0, model.config().pad_token_id)?;
        let _ = pad.f_zero_()?;
        Ok(())
    })
}

/// Computes the mean Euclidean norm of the token embeddings, including `<pad>`.
///
/// # Errors
/// [`Error::Torch`](crate::Error::Torch) if libtorch fails.
///
/// # Example
/// ```
/// use xlmr_model::{Config, Model};
///
/// let model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
/// assert!(tasks::word_embeddings::mean_norm(&model)? > 0.0);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn mean_norm(model: &Model) -> Result<f64> {
    let norms = model.word_embeddings().f_detach()?.f_norm_scalaropt_dim(2.0, [-1i64], false)?;
    Ok(norms.f_mean(Kind::Float)?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    #[test]
    fn centered_embeddings_have_the_given_norm_and_pad_is_zero() {
        let model = model(50);
        center_and_scale(&model, 3.0).unwrap();
        let embeddings = model.word_embeddings().detach();
        let norms =
            Vec::<f32>::try_from(embeddings.norm_scalaropt_dim(2.0, [-1i64], false)).unwrap();
        assert_eq!(norms[1], 0.0);
        assert!(norms.iter().enumerate().all(|(id, n)| id == 1 || (n - 3.0).abs() < 1e-4));
        assert!((mean_norm(&model).unwrap() - 3.0 * 49.0 / 50.0).abs() < 1e-4);
    }
}
