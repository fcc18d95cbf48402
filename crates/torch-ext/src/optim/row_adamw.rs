//! AdamW with sparse gradients, for token embeddings.
use tch::{Kind, Tensor, no_grad};

use crate::{AdamWStep, Error, Result, fused_adamw};

/// A dense gradient, or a sparse gradient with values for some rows.
#[derive(Debug)]
pub struct Gradient {
    /// Ascending row indices, `[R]` i64; absent for a dense gradient.
    rows: Option<Tensor>,
    /// The dense gradient, or the gradients of the rows, `[R, …]`.
    values: Tensor,
}

impl Gradient {
    /// Splits a gradient into rows and values. A sparse gradient is in libtorch's COO format, with
    /// one sparse dimension; repeated rows are summed.
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) if libtorch returns an error.
    pub fn new(grad: Tensor) -> Result<Self> {
        if !grad.is_sparse() {
            return Ok(Self { rows: None, values: grad });
        }
        let grad = grad.f_coalesce()?;
        let rows = grad.f_indices()?.f_select(0, 0)?;
        Ok(Self { rows: Some(rows), values: grad.f_values()? })
    }

    /// Returns all elements of a dense gradient, or the stored rows of a sparse gradient. Rows that
    /// are not stored are zero, so the returned elements suffice for norms and scaling.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Returns whether the gradient is sparse.
    pub fn is_sparse(&self) -> bool {
        self.rows.is_some()
    }

    /// Returns the gradient as a dense tensor in the shape of `parameter`, with zeros in rows that
    /// are not stored.
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) if libtorch returns an error.
    pub fn to_dense(&self, parameter: &Tensor) -> Result<Tensor> {
        let Some(rows) = &self.rows else { return Ok(self.values.shallow_clone()) };
        no_grad(|| Ok(parameter.f_zeros_like()?.f_index_copy_(0, rows, &self.values)?))
    }
}

/// The rows of a parameter that have had a gradient in any step. AdamW must update these rows in
/// every later step.
///
/// The moments of all other rows are zero, so their exact update consists of weight decay only.
#[derive(Debug)]
pub struct TouchedRows {
    /// `[V]` bool.
    touched: Tensor,
}

impl TouchedRows {
    /// Creates an empty set of rows, for a parameter whose moments are all zero.
    ///
    /// # Errors
    /// [`Error::Libtorch`] for a scalar; [`Error::Torch`](crate::Error::Torch) if libtorch returns
    /// an error.
    pub fn empty(parameter: &Tensor) -> Result<Self> {
        let rows = parameter.size().first().copied().ok_or_else(|| {
            Error::Libtorch("expected a parameter with rows, got a scalar".into())
        })?;
        Ok(Self { touched: Tensor::f_zeros([rows], (Kind::Bool, parameter.device()))? })
    }

    /// Returns the rows with nonzero moments.
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) if the moments have different shapes.
    pub fn from_moments(exp_avg: &Tensor, exp_avg_sq: &Tensor) -> Result<Self> {
        let has_nonzero = |moment: &Tensor| -> Result<Tensor> {
            Ok(moment.f_ne(0.0)?.f_flatten(1, -1)?.f_any_dim(1, false)?)
        };
        Ok(Self { touched: has_nonzero(exp_avg)?.f_logical_or(&has_nonzero(exp_avg_sq)?)? })
    }

    /// Runs one AdamW step with a sparse gradient. The result equals the result of [`fused_adamw`]
    /// with [`Gradient::to_dense`]. The results are bit-identical if the row width is a multiple of
    /// 16 float32 elements.
    ///
    /// `moments` are the parameter's `exp_avg` and `exp_avg_sq`. `step_count` is a float32 scalar:
    /// the number of steps including this step.
    ///
    /// # Errors
    /// [`Error::Libtorch`] or [`Error::Torch`] if shapes, dtypes or devices do not match.
    pub fn step(
        &mut self,
        parameter: &Tensor,
        gradient: &Gradient,
        moments: [&Tensor; 2],
        step_count: &Tensor,
        step: &AdamWStep,
    ) -> Result<()> {
        let Some(rows) = &gradient.rows else {
            return Err(Error::Libtorch("expected a sparse gradient, got a dense gradient".into()));
        };
        no_grad(|| {
            let _ = self.touched.f_index_fill_(0, rows, 1)?;
            let touched_rows = self.touched.f_nonzero()?.f_view([-1])?;
            let (row_count, touched_count) = (self.touched.size1()?, touched_rows.size1()?);
            let [exp_avg, exp_avg_sq] = moments;
            if 2 * touched_count > row_count {
                let grad = gradient.to_dense(parameter)?;
                let lists = ([parameter], [&grad], [exp_avg], [exp_avg_sq], [step_count]);
                return fused_adamw(&lists.0, &lists.1, &lists.2, &lists.3, &lists.4, step);
            }
            let mut tensors =
                [parameter.detach(), exp_avg.shallow_clone(), exp_avg_sq.shallow_clone()];
            let select = |tensor: &Tensor| tensor.f_index_select(0, &touched_rows);
            let [parameter, exp_avg, exp_avg_sq] = &tensors;
            let selected = [select(parameter)?, select(exp_avg)?, select(exp_avg_sq)?];
            let [parameter_rows, first, second] = &selected;
            let positions =
                rows.f_searchsorted(&touched_rows, false, false, "left", None::<&Tensor>)?;
            let grad =
                parameter_rows.f_zeros_like()?.f_index_copy_(0, &positions, &gradient.values)?;
            fused_adamw(&[parameter_rows], &[&grad], &[first], &[second], &[step_count], step)?;
            if step.weight_decay != 0.0 {
                let _ = tensors[0].f_mul_scalar_(1.0 - step.lr * step.weight_decay)?;
            }
            for (tensor, updated) in tensors.iter_mut().zip(&selected) {
                let _ = tensor.f_index_copy_(0, &touched_rows, updated)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Returns the gradient of an embedding twice: as a sparse tensor with repeated rows, and as an
    /// equal dense tensor.
    fn gradients(embedding: &Tensor, ids: &[i64], weight: &Tensor) -> (Tensor, Tensor) {
        let ids = Tensor::from_slice(ids);
        let [sparse, dense] = [true, false].map(|sparse| {
            let leaf = embedding.detach().copy().set_requires_grad(true);
            let embeddings = Tensor::embedding(&leaf, &ids, 1, false, sparse);
            (embeddings * weight).sum(Kind::Float).backward();
            leaf.grad()
        });
        assert!(sparse.is_sparse() && !dense.is_sparse());
        (sparse, dense)
    }

    #[test]
    fn a_scalar_has_no_rows() {
        let error = TouchedRows::empty(&Tensor::from(0.5)).unwrap_err().to_string();
        assert_eq!(error, "libtorch: expected a parameter with rows, got a scalar");
    }

    #[test]
    fn sparse_steps_equal_dense_steps_bit_for_bit() {
        for weight_decay in [0.0, 0.01] {
            let step = AdamWStep { weight_decay, ..crate::optim::tests::STEP };
            let start = crate::seeded_randn(&[90, 48], 5).unwrap();
            let new_state = || (start.copy(), start.zeros_like(), start.zeros_like());
            let (got, want) = (new_state(), new_state());
            let mut touched = TouchedRows::empty(&start).unwrap();
            // Steps with few rows, one step with all rows, and more steps with few rows.
            let few = (0..46).map(|k: i64| vec![k % 7, 40 + k % 3, 89, k % 5, k % 7]);
            let all = (0..90).chain([3, 4]).collect();
            let batches = few.chain([all, vec![0, 1, 2, 3, 4], vec![2, 7, 2, 2, 2], vec![88]]);
            for (k, ids) in batches.enumerate() {
                let weight = crate::seeded_randn(&[ids.len() as i64, 48], k as i64).unwrap();
                let (sparse, dense) = gradients(&want.0, &ids, &weight);
                let count = Tensor::from(k as f32 + 1.0);
                let gradient = Gradient::new(sparse).unwrap();
                assert_eq!(gradient.to_dense(&got.0).unwrap(), dense);
                touched.step(&got.0, &gradient, [&got.1, &got.2], &count, &step).unwrap();
                let (p, m, v) = &want;
                fused_adamw(&[p], &[&dense], &[m], &[v], &[&count], &step).unwrap();
                assert_eq!(got, want, "step {k}, decay {weight_decay}");
            }
            let nonzero = TouchedRows::from_moments(&got.1, &got.2).unwrap();
            assert_eq!(nonzero.touched, touched.touched.logical_and(&nonzero.touched));
        }
    }

    #[test]
    fn values_share_memory_with_the_gradient() {
        let embedding = crate::seeded_randn(&[20, 16], 1).unwrap();
        let (sparse, dense) = gradients(&embedding, &[3, 5, 3], &Tensor::ones([3, 16], FLOAT));
        let gradient = Gradient::new(sparse).unwrap();
        assert_eq!(gradient.values().size(), [2, 16]);
        let norm = dense.norm().double_value(&[]);
        crate::scale_all(&[gradient.values()], 0.5 / norm).unwrap();
        let scaled_norm = gradient.to_dense(&embedding).unwrap().norm().double_value(&[]);
        assert!((scaled_norm - 0.5).abs() < 1e-6, "{scaled_norm}");
    }
}
