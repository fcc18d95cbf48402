//! Computes the sum of a masked language modelling loss and a contrastive loss with a queue of
//! earlier keys.
use std::error::Error;

use objectives::tch::{Device, Kind, Tensor};
use objectives::{
    ContrastConfig, ContrastRowInfo, MaskedLmConfig, NegativeQueue, QueueConfig, TokenScores,
    masked_entity_prediction, masked_lm, masked_positions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let options = (Kind::Float, Device::Cpu);
    // Two sentences of four tokens; -100 at tokens that are not masked. Replace with your data.
    let labels = Tensor::from_slice(&[-100_i64, 2, -100, -100, -100, -100, 0, 1]).view([2, 4]);
    // Hidden states of your encoder, H = 3, and the last layer of your LM head, V = 5.
    let hidden = Tensor::zeros([2, 4, 3], options).set_requires_grad(true);
    let decoder = Tensor::eye_m(5, 3, options);

    // Masked language modelling on the three masked tokens only, without storing their logits.
    let masked = masked_positions(&labels)?;
    let rows = masked.gather(&hidden)?; // [3, H]
    let scores = TokenScores::linear(&rows, &decoder, None);
    let mlm = masked_lm(scores, &masked.targets, &MaskedLmConfig::default())?;

    // Contrastive loss: the first token of each sentence is the query, the description of its
    // entity is the positive key, and all other descriptions are negatives.
    let mut queue = NegativeQueue::new(3, options, &QueueConfig { size: 8, ..Default::default() })?;
    let descriptions = Tensor::ones([2, 3], options);
    let mentions = hidden.select(1, 0); // [2, H]
    let contrast_rows = ContrastRowInfo::default();
    let config = ContrastConfig::paper();
    let mep =
        masked_entity_prediction(&mentions, &descriptions, &mut queue, &contrast_rows, &config)?;

    let total = &mlm + &mep;
    total.backward();

    println!("loss {:.4} nats", total.double_value(&[]));
    for (name, part) in [("mlm", &mlm), ("mep", &mep)] {
        println!("  {name} {:.4}", part.double_value(&[])); // untrained model: ln 5, ln 8
    }
    println!("keys in the queue: {} of {}", queue.len(), queue.capacity());
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
