//! Comparisons of `soft_labels` with libtorch's `kl_div`.
use anyhow::Result;
use objectives::{SoftLabelConfig, soft_labels};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `soft_labels`: distributions over 384 positions, without and with
/// padding, and distributions over three classes.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    [(16, 384, false), (16, 384, true), (128, 384, true), (128, 3, false)]
        .map(move |(batch, classes, masked)| {
            let size = format!("B={batch},C={classes},mask={masked}");
            Spec::new("soft_labels", size, move || case(batch, classes, masked, device))
        })
        .into()
}

fn case(batch: i64, classes: i64, masked: bool, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(batch, classes, masked, device)?);
    Ok(Case::new(step("checked", Inputs::checked), vec![step("kl_div", Inputs::kl_div)])
        .with_tolerance(1e-4))
}

/// Random logits; the mask excludes the last eighth of every second row.
struct Inputs {
    student: Tensor,
    teacher: Tensor,
    mask: Option<Tensor>,
    config: SoftLabelConfig,
}

impl Inputs {
    fn random(batch: i64, classes: i64, masked: bool, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let logits = || Tensor::f_randn([batch, classes], (Kind::Float, device));
        let ids = (Kind::Int64, device);
        let is_odd_row = Tensor::f_arange(batch, ids)?.f_remainder(2)?.f_eq(1)?.f_unsqueeze(1)?;
        let is_late_column =
            Tensor::f_arange(classes, ids)?.f_ge(classes - classes / 8)?.f_unsqueeze(0)?;
        Ok(Self {
            student: logits()?.set_requires_grad(true),
            teacher: logits()?,
            mask: masked.then_some(is_odd_row.f_logical_and(&is_late_column)?.f_logical_not()?),
            config: SoftLabelConfig::default(),
        })
    }

    /// This project's formulation. Runs the forward and backward passes, and returns the loss.
    fn checked(&self) -> Result<f64> {
        let mask = self.mask.as_ref();
        backward(soft_labels(&self.student, &self.teacher, mask, &self.config)?, &[&self.student])
    }

    /// Computes `kl_div(log_softmax(s / T), softmax(t / T), "batchmean") * T²`, with -1e4 where the
    /// mask is false, without checks.
    fn kl_div(&self) -> Result<f64> {
        let t = self.config.temperature;
        let scores = |logits: &Tensor| -> Result<Tensor> {
            let logits = match &self.mask {
                Some(mask) => logits.f_masked_fill(&mask.f_logical_not()?, -1e4)?,
                None => logits.shallow_clone(),
            };
            Ok(logits.f_div_scalar(t)?)
        };
        let student = scores(&self.student)?.f_log_softmax(1, None::<Kind>)?;
        let teacher = scores(&self.teacher)?.f_softmax(1, None::<Kind>)?;
        let (batch, _) = student.size2()?;
        let sum = student.f_kl_div(&teacher, Reduction::Sum, false)?;
        backward(sum.f_mul_scalar(t * t / batch as f64)?, &[&self.student])
    }
}
