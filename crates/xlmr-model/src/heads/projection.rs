//! Projection heads of contrastive tasks.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};
use torch_ext::{to_i64, to_usize};

use crate::parameters::{Init, Spec};
use crate::{Error, Result};

/// The layers of a [`Projection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// `W₂ ReLU(W₁ x)`, as in the paper of *XLM-K* (Eq. 1 to 4).
    #[default]
    Plain,
    /// The linear layers of [`Plain`](Self::Plain), each followed by batch norm, as in XLM-K's
    /// released code. The second norm has no scale and shift.
    BatchNorm,
}

/// Two linear layers without biases and a ReLU between them: `[B, H]` to `[B, H]`.
///
/// Batch norm, if any, is computed in float32, or in float64 if its input is float64. In training
/// it uses the statistics of the current batch, otherwise its running statistics.
#[derive(Debug)]
pub struct Projection {
    /// `[d_p, H]`
    first: Tensor,
    /// `[H, d_p]`
    second: Tensor,
    norms: Option<(BatchNorm, BatchNorm)>,
}

/// Batch norm over rows with running statistics: one set for all rows, or one per domain
/// (domain-specific batch norm).
#[derive(Debug)]
struct BatchNorm {
    affine: Option<(Tensor, Tensor)>,
    /// `[H]`, or `[S, H]` for S domains
    mean: Tensor,
    /// As `mean`
    variance: Tensor,
}

/// Weight of a batch in the running statistics; torch's default.
const MOMENTUM: f64 = 0.1;
/// Epsilon for statistics of a whole batch, as in the released code.
const EPS: f64 = 1e-12;
/// Epsilon for statistics of a domain; torch's default. All rows of a domain may be equal and thus
/// have a variance of 0. The epsilon 1e-12 of the released code would then multiply their gradient
/// by a million.
const DOMAIN_EPS: f64 = 1e-5;

impl BatchNorm {
    fn apply(&self, x: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let x = if kind == Kind::Double { x.shallow_clone() } else { x.f_to_kind(Kind::Float)? };
        let out = if self.mean.dim() == 1 {
            if train && x.size()[0] < 2 {
                return Err(Error::input("x", "at least 2 rows for batch norm in training", "1"));
            }
            self.normalise(&x, &self.mean, &self.variance, EPS, train)?
        } else {
            self.normalise_domains(&x, domain_ids, train)?
        };
        Ok(out.f_to_kind(kind)?)
    }

    fn normalise(
        &self,
        x: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        eps: f64,
        train: bool,
    ) -> Result<Tensor> {
        let (weight, bias) = self.affine.as_ref().map(|(weight, bias)| (weight, bias)).unzip();
        // The autograd graph stores these copies instead of the running statistics, which a later
        // batch changes.
        let updated = [mean.f_detach_copy()?, var.f_detach_copy()?];
        let [new_mean, new_var] = &updated;
        let (new_mean, new_var) = (Some(new_mean), Some(new_var));
        let out = x.f_batch_norm(weight, bias, new_mean, new_var, train, MOMENTUM, eps, false)?;
        let running = [mean.shallow_clone(), var.shallow_clone()];
        for (mut running, updated) in running.into_iter().zip(&updated).filter(|_| train) {
            // The trainer skips a float16 step with non-finite values, so such values must not
            // change the running statistics.
            let new_running = updated.f_where_self(&updated.f_isfinite()?, &running)?;
            tch::no_grad(|| running.f_copy_(&new_running))?;
        }
        Ok(out)
    }

    /// Normalises the rows of each domain separately.
    ///
    /// The variance of a single row is 0, and two rows would be normalised to -1 and 1, without a
    /// gradient. A domain with one or two rows is therefore normalised by the running statistics,
    /// even in training.
    fn normalise_domains(&self, x: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        let (n_domains, rows) = (to_usize(self.mean.size()[0]), to_usize(x.size()[0]));
        let is_invalid = |&domain: &usize| domain >= n_domains;
        if domain_ids.len() != rows || domain_ids.iter().any(is_invalid) {
            let (n_ids, largest_id) = (domain_ids.len(), domain_ids.iter().max());
            let actual = format!("{n_ids} domain ids, the largest {largest_id:?}");
            let expected = format!("{rows} domain ids below {n_domains}");
            return Err(Error::input("domain_ids", expected, actual));
        }
        let mut rows_by_domain: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (row, &domain) in (0..).zip(domain_ids) {
            rows_by_domain.entry(to_i64(domain)).or_default().push(row);
        }
        let mut normalised = Vec::with_capacity(rows_by_domain.len());
        let mut row_order = Vec::with_capacity(domain_ids.len());
        for (domain, domain_rows) in rows_by_domain {
            let train = train && domain_rows.len() > 2;
            let index = torch_ext::upload(&Tensor::f_from_slice(&domain_rows)?, x.device())?;
            let (mean, var) = (self.mean.f_select(0, domain)?, self.variance.f_select(0, domain)?);
            let x = x.f_index_select(0, &index)?;
            normalised.push(self.normalise(&x, &mean, &var, DOMAIN_EPS, train)?);
            row_order.extend(domain_rows);
        }
        if normalised.is_empty() {
            return Ok(x.shallow_clone());
        }
        let batch_order =
            torch_ext::upload(&Tensor::f_from_slice(&row_order)?.f_argsort(0, false)?, x.device())?;
        Ok(Tensor::f_cat(&normalised, 0)?.f_index_select(0, &batch_order)?)
    }
}

impl Projection {
    /// Returns the parameters and buffers, whose names start with `name.`, and whether each is
    /// trainable. `domains` is the number of domains of batch norm; if absent, all rows have one
    /// domain.
    pub(crate) fn specs(
        name: &str,
        hidden: i64,
        inner: i64,
        kind: ProjectionKind,
        domains: Option<i64>,
    ) -> Vec<(Spec, bool)> {
        let spec = |part: &str, shape: &[i64], init, is_trainable| {
            (Spec::new(format!("{name}.{part}"), shape, init), is_trainable)
        };
        let mut specs = vec![
            spec("0.weight", &[inner, hidden], Init::Normal, true),
            spec("1.weight", &[hidden, inner], Init::Normal, true),
        ];
        if kind == ProjectionKind::BatchNorm {
            let shape = |size: i64| domains.map_or(vec![size], |domains| vec![domains, size]);
            let (inner_shape, hidden_shape) = (shape(inner), shape(hidden));
            specs.extend([
                spec("norm_0.weight", &[inner], Init::Ones, true),
                spec("norm_0.bias", &[inner], Init::Zeros, true),
                spec("norm_0.running_mean", &inner_shape, Init::Zeros, false),
                spec("norm_0.running_var", &inner_shape, Init::Ones, false),
                spec("norm_1.running_mean", &hidden_shape, Init::Zeros, false),
                spec("norm_1.running_var", &hidden_shape, Init::Ones, false),
            ]);
        }
        specs
    }

    pub(crate) fn new(
        name: &str,
        kind: ProjectionKind,
        get: &dyn Fn(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        let get = |part: &str| get(&format!("{name}.{part}"));
        let norm = |index: usize, affine: bool| -> Result<BatchNorm> {
            let get = |part: &str| get(&format!("norm_{index}.{part}"));
            Ok(BatchNorm {
                affine: if affine { Some((get("weight")?, get("bias")?)) } else { None },
                mean: get("running_mean")?,
                variance: get("running_var")?,
            })
        };
        Ok(Self {
            first: get("0.weight")?,
            second: get("1.weight")?,
            norms: match kind {
                ProjectionKind::Plain => None,
                ProjectionKind::BatchNorm => Some((norm(0, true)?, norm(1, false)?)),
            },
        })
    }

    /// Projects each row of `x`.
    ///
    /// Domain-specific batch norm normalises each row by the running statistics of its domain or,
    /// in training, by the statistics of the domain's rows in the batch if there are at least
    /// three. Projections without domain-specific batch norm ignore `domain_ids`.
    ///
    /// # Shapes
    /// - `x`: `[B, H]` float; the result has the same shape
    /// - `domain_ids`: the domain of each row, B integers in `0..S`
    ///
    /// # Errors
    /// [`Error::Input`] if `x` is not `[B, H]` or is a single row for batch norm in training, or if
    /// `domain_ids` is invalid; [`Error::Torch`].
    pub fn apply(&self, x: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        let width = self.first.size()[1];
        if x.dim() != 2 || x.size().last() != Some(&width) {
            return Err(Error::input("x", format!("[B, {width}]"), format!("{:?}", x.size())));
        }
        let inner = x.f_linear(&self.first, None::<&Tensor>)?;
        let Some((first, second)) = &self.norms else {
            return Ok(inner.f_relu()?.f_linear(&self.second, None::<&Tensor>)?);
        };
        let inner = first.apply(&inner, domain_ids, train)?.f_relu()?;
        second.apply(&inner.f_linear(&self.second, None::<&Tensor>)?, domain_ids, train)
    }
}

/// Copies `from` into `to` without recording gradients.
pub(crate) fn copy_into(to: &Tensor, from: &Tensor) -> Result<()> {
    let mut to = to.shallow_clone();
    no_grad(|| to.f_copy_(from))?;
    Ok(())
}
