#!/usr/bin/env python3
"""Serves translations by Apertium in LibreTranslate's format, for `qa-translate --server`.

    python3 crates/qa-translate/scripts/apertium_server.py --port 5000
    qa-translate translate --in train-v1.1.json --to es --server http://localhost:5000 --out translated

Requires Python 3.9 and the program `apertium` with a language pair, for example the Debian packages `apertium` and
`apertium-eng-spa`. Each text is translated by a separate process, so that no text changes the translation of another text.
"""
import argparse
import concurrent.futures
import http.server
import json
import subprocess

# Apertium names its pairs by ISO 639-3 codes.
CODES = {"ca": "cat", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "oc": "oci", "pt": "por"}


def translate(text, pair):
    """Translates one text. Line breaks are preserved."""
    result = subprocess.run(["apertium", "-u", pair], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip() or f"apertium ended with exit code {result.returncode}")
    return result.stdout


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, value):
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        # `qa-translate` requests /frontend/settings for the limit of a text's length; Apertium has none.
        self.reply(404, {"error": "not found"})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        pair = "-".join(CODES.get(request[key], request[key]) for key in ("source", "target"))
        texts = [request["q"]] if isinstance(request["q"], str) else request["q"]
        try:
            translations = list(self.server.pool.map(lambda text: translate(text, pair), texts))
        except RuntimeError as error:
            return self.reply(400, {"error": str(error)})
        self.reply(200, {"translatedText": translations[0] if isinstance(request["q"], str) else translations})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=2, help="number of texts translated at the same time")
    args = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.pool = concurrent.futures.ThreadPoolExecutor(args.processes)
    print(f"http://127.0.0.1:{args.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
