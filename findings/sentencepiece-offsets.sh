#!/usr/bin/env bash
# SentencePiece's offsets of pieces changed from characters to bytes between 0.2.1 and 0.2.3.
#
# Up to 0.2.1, `begin` and `end` of `out_type="immutable_proto"` are code points. 0.2.3 rejects this
# type and advises "proto", whose `begin` and `end` are UTF-8 bytes. Code points are now in
# "offset_mapping". Spans that are computed from the advised replacement are right for ASCII text only.
# Versions: sentencepiece 0.2.1 and 0.2.3.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install older sentencepiece==0.2.1
install newer sentencepiece==0.2.3 protobuf==7.36.2

cat >pieces.py <<'PY'
import io, sys
import sentencepiece

sentences = ["the river is wide and the road is long", "die Stadt liegt am Fluss", "la ville est grande"] * 50
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=model, vocab_size=40,
    hard_vocab_limit=False, minloglevel=2)
pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
text = "Zürich ist groß"
if sys.argv[1] == "immutable_proto":
    found = pieces.encode(text, out_type="immutable_proto")
    print([f"{piece.piece} {piece.begin} {piece.end}" for piece in found.pieces][-1])
elif sys.argv[1] == "proto":
    found = pieces.encode(text, return_type="proto")
    print([f"{piece.piece} {piece.begin} {piece.end}" for piece in found.pieces][-1])
else:
    found = pieces.encode(text, return_type="offset_mapping")
    print(found["pieces"][-1], *found["offsets"][-1])
PY
check() { # FOLDER KIND EXPECTED
    local seen
    seen=$(with "$1" pieces.py "$2" 2>&1)
    echo "$1 $2: $seen"
    [[ "$seen" == *"$3"* ]]
}
check older immutable_proto "ß 14 15"
check newer proto "ß 15 17"
check newer offset_mapping "ß 14 15"
if with newer pieces.py immutable_proto 2>message.txt; then
    echo "0.2.3 accepts immutable_proto"
    exit 1
fi
tail -n 1 message.txt
grep -q "Use return_type='proto' instead" message.txt
