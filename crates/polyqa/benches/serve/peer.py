"""A service in FastAPI over the question-answering pipeline of transformers 4, for `cargo xtask bench serve`.

    python peer.py MODEL THREADS turns|together float32|bfloat16

`turns` evaluates requests sequentially, `together` concurrently in FastAPI's threads. Prints the address when the
server is ready.
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


class Query(BaseModel):
    question: str
    text: str


def main():
    model, threads, order, dtype = sys.argv[1:]
    torch.set_num_threads(int(threads))
    pipeline = QuestionAnsweringPipeline(
        model=AutoModelForQuestionAnswering.from_pretrained(model, dtype=getattr(torch, dtype)),
        tokenizer=AutoTokenizer.from_pretrained(model),
    )
    lock = threading.Lock() if order == "turns" else contextlib.nullcontext()
    app = FastAPI()

    @app.post("/answer")
    def answer(query: Query):
        with lock:
            answers = pipeline(
                question=query.question, context=query.text, top_k=3, max_seq_len=384, doc_stride=128, max_answer_len=30
            )
        # The pipeline returns a single answer without a list.
        return {"results": answers if isinstance(answers, list) else [answers]}

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


main()
