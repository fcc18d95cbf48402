use std::error::Error;

use objectives::tch::{Device, Kind, Tensor};
use objectives::{MaskedLmConfig, masked_lm, masked_positions};

fn main() -> Result<(), Box<dyn Error>> {
    // Two sentences of four tokens; -100 where no token was masked. Your data loader makes these.
    let labels = Tensor::from_slice(&[-100_i64, 2, -100, -100, -100, -100, 0, 1]).view([2, 4]);
    // What your encoder and your LM head make of them: H = 3, V = 5.
    let hidden = Tensor::zeros([2, 4, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let decoder = Tensor::eye_m(5, 3, (Kind::Float, Device::Cpu));

    let masked = masked_positions(&labels)?;
    let logits = masked.gather(&hidden)?.matmul(&decoder.tr()); // [N, V] for N = 3 masked tokens
    let loss = masked_lm(&logits, &masked.targets, &MaskedLmConfig::default())?;
    loss.backward();

    println!("loss {:.4} nats, ln 5 = {:.4}", loss.double_value(&[]), 5_f64.ln());
    println!("gradient of the hidden states:");
    let grad = hidden.grad();
    for row in 0..2 {
        for column in 0..4 {
            let values = Vec::<f32>::try_from(grad.get(row).get(column))?;
            println!("  sentence {row}, token {column}: {values:+.3?}");
        }
    }
    Ok(())
}
