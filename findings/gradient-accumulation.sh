#!/usr/bin/env bash
# With gradient accumulation, the Trainer of transformers 5.24 trains XLM-RoBERTa with multiplied gradients.
#
# Trainer leaves the division by the number of accumulated batches to models whose `forward` takes `**kwargs`.
# XLM-RoBERTa's heads for tokens, sequences and masked tokens (like those of BERT and DeBERTa) take them and
# ignore the number of items: with four batches of two, gradient and logged loss are four times those of one
# batch of eight. AdamW hides a constant factor, but not the clipping at `max_grad_norm` (1.0 by default). The
# question-answering head and ModernBERT's masked-LM head have the same gradient in both cases.
# Versions: transformers 5.24.0, accelerate 1.15.0, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages transformers==5.24.0 accelerate==1.15.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error

with packages - <<'PY'
import torch
from transformers import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

torch.set_num_threads(1)
sizes = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
xlmr = XLMRobertaConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2)
modernbert = ModernBertConfig(**sizes, pad_token_id=1)
# Eight rows of ten tokens with equally many labels, so that the mean of means is the mean.
ids = torch.randint(5, 50, (8, 10), generator=torch.Generator().manual_seed(1))
tokens = [{"input_ids": row, "labels": row % 2} for row in ids]
masked = [{"input_ids": row, "labels": row} for row in ids]
sequences = [{"input_ids": row, "labels": row[0] % 2} for row in ids]
spans = [{"input_ids": row, "start_positions": row[0] % 10, "end_positions": row[1] % 10} for row in ids]


class Optimizer(torch.optim.SGD):
    def step(self, *arguments, **keywords):
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.norm = torch.stack([gradient.norm() for gradient in gradients]).norm().item()
        return super().step(*arguments, **keywords)


def train(head, config, rows, batch_size):
    torch.manual_seed(0)
    model = head(config)
    optimizer = Optimizer(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    arguments = TrainingArguments(
        "out", per_device_train_batch_size=batch_size, gradient_accumulation_steps=8 // batch_size,
        max_steps=1, max_grad_norm=0.0, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, scheduler))
    trainer.remove_callback(PrinterCallback)
    loss = trainer.train().training_loss
    return optimizer.norm, loss


for head, config, rows, expected in [
    (XLMRobertaForTokenClassification, xlmr, tokens, 4.0),
    (XLMRobertaForSequenceClassification, xlmr, sequences, 4.0),
    (XLMRobertaForMaskedLM, xlmr, masked, 4.0),
    (XLMRobertaForQuestionAnswering, xlmr, spans, 1.0),
    (ModernBertForMaskedLM, modernbert, masked, 1.0),
]:
    (norm, loss), (norm_of_eight, loss_of_eight) = train(head, config, rows, 2), train(head, config, rows, 8)
    factors = norm / norm_of_eight, loss / loss_of_eight
    print(f"{head.__name__}: four batches of two, one of eight: gradient × {factors[0]:.2f}, loss × {factors[1]:.2f}")
    assert all(abs(factor - expected) < 0.01 for factor in factors), f"expected {expected}"
PY
