#!/usr/bin/env bash
# encode_document of sentence-transformers 6.2 never uses a model's prompt `passage`.
#
# Its documentation says that it uses the first prompt of `document`, `passage` and `corpus`. But every
# model has an own empty prompt `document`, so models with the prompts `query` and `passage`, the names in
# the documentation's example, embed documents without a prompt, and questions with one.
# Versions: sentence-transformers 6.2.0, transformers 5.24.0, torch 2.11.0 (3 GB to download).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages sentence-transformers==6.2.0 transformers==5.24.0 torch==2.11.0
export TRANSFORMERS_VERBOSITY=error

with packages - <<'PY'
import tempfile

import numpy
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

torch.manual_seed(0)
words = {word: index for index, word in enumerate(["[UNK]", "Lima", "river", "query", "passage", ":"])}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
module = StaticEmbedding(tokenizer, embedding_dim=8)
prompts = {"query": "query: ", "passage": "passage: "}
with tempfile.TemporaryDirectory() as folder:
    SentenceTransformer(modules=[module], prompts=prompts, device="cpu").save_pretrained(folder)
    model = SentenceTransformer(folder, device="cpu")
print("prompts of the model that was created with query and passage:", model.prompts)
text = "Lima river"
document = model.encode_document(text)
question = model.encode_query(text)
is_equal = {name: bool(numpy.allclose(document, model.encode(text, prompt=prompt)))
            for name, prompt in (("no prompt", ""), ("passage: ", "passage: "))}
print("encode_document equals encode with", is_equal)
print("encode_query equals encode with 'query: ':", bool(numpy.allclose(question, model.encode(text, prompt="query: "))))
assert is_equal == {"no prompt": True, "passage: ": False}, "encode_document uses the prompt now"
PY
