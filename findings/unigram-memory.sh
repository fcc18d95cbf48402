#!/usr/bin/env bash
# A Unigram vocabulary of tokenizers 0.23 takes several times the memory that the same pieces take in sentencepiece,
# or in another model of tokenizers.
#
# XLM-R, mT5 and their descendants have 250,000 pieces. The 250,000 random pieces of this script, 7 MiB on disk, take
# 582 MiB as Unigram, 76 MiB as WordPiece and 62 MiB in sentencepiece, beyond a vocabulary of two pieces (XLM-R's own
# pieces share more prefixes and take about 280 MiB). The weights of a small encoder can take less.
# Versions: tokenizers 0.23.3, sentencepiece 0.2.3, protobuf 7.36.2.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2

with packages - <<'PY'
import json
import os
import random
import subprocess
import sys
import tempfile

from sentencepiece import sentencepiece_model_pb2 as proto

rng = random.Random(1)
letters = [chr(code) for start in (0x61, 0x430, 0x5D0, 0x905) for code in range(start, start + 24)]
pieces = ["<unk>"]
seen = set(pieces)
while len(pieces) < 250_000:
    piece = "".join(rng.choices(letters, k=rng.randint(2, 9)))
    if piece not in seen:
        seen.add(piece)
        pieces.append(piece)

folder = tempfile.mkdtemp()


def write_json(name, model):
    path = f"{folder}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": "1.0", "added_tokens": [], "model": model}, file, ensure_ascii=False)
    return path


def unigram(pieces):
    return {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -1.0 - 1e-5 * k] for k, piece in enumerate(pieces)]}


ids = {piece: k for k, piece in enumerate(pieces)}
files = {
    "empty": write_json("empty", unigram(pieces[:2])),
    "Unigram": write_json("unigram", unigram(pieces)),
    "WordPiece": write_json(
        "wordpiece",
        {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "", "max_input_chars_per_word": 100, "vocab": ids},
    ),
}
model = proto.ModelProto()
for k, piece in enumerate(pieces):
    model.pieces.add(piece=piece, score=-1.0 - 1e-5 * k, type=2 if k == 0 else 1)
model.trainer_spec.model_type = proto.TrainerSpec.UNIGRAM
files["sentencepiece"] = f"{folder}/unigram.model"
with open(files["sentencepiece"], "wb") as file:
    file.write(model.SerializeToString())

LOAD = """
import sys
import sentencepiece, tokenizers
path = sys.argv[1]
kept = tokenizers.Tokenizer.from_file(path) if path.endswith("json") else sentencepiece.SentencePieceProcessor(model_file=path)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024)
"""


def resident_mib(path):
    output = subprocess.run([sys.executable, "-c", LOAD, path], stdout=subprocess.PIPE, check=True).stdout
    return float(output)


empty = resident_mib(files.pop("empty"))
memory = {}
for name, path in files.items():
    memory[name] = resident_mib(path) - empty
    print(f"{name}: {os.path.getsize(path) / 2**20:.0f} MiB on disk, {memory[name]:.0f} MiB in memory")
assert memory["Unigram"] > 200 and memory["Unigram"] > 5 * max(memory["sentencepiece"], 20), "the behaviour has changed"
PY
