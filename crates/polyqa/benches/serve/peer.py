"""A service in FastAPI over the question-answering pipeline of transformers 4, for `cargo xtask bench serve`.

    python peer.py MODEL THREADS turns|together

`turns` lets one request after the other to the model, `together` as many as FastAPI has threads. Prints the address
once it serves.
"""

import contextlib
import socket
import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, QuestionAnsweringPipeline


class Asked(BaseModel):
    question: str
    text: str


def main():
    model, threads, order = sys.argv[1:]
    torch.set_num_threads(int(threads))
    pipeline = QuestionAnsweringPipeline(
        model=AutoModelForQuestionAnswering.from_pretrained(model), tokenizer=AutoTokenizer.from_pretrained(model)
    )
    lock = threading.Lock() if order == "turns" else contextlib.nullcontext()
    app = FastAPI()

    @app.post("/answer")
    def answer(asked: Asked):
        with lock:
            found = pipeline(
                question=asked.question, context=asked.text, top_k=3, max_seq_len=384, doc_stride=128, max_answer_len=30
            )
        return {"results": found}

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


main()
