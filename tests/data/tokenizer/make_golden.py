#!/usr/bin/env python3
"""Writes golden.txt: llama.cpp's token ids for the texts of lines.jsonl.

    python3 -m venv /path/to/venv && /path/to/venv/bin/pip install xllamacpp==2026.10.11549
    /path/to/venv/bin/python make_golden.py SmolLM2-135M-Instruct.Q4_1.gguf

Line n holds the ids of text n, separated by spaces, with neither special tokens added nor marks parsed, as
`llama-tokenize --no-bos --no-parse-special` gives them. The wheel `xllamacpp` carries llama.cpp and its server; the texts go
to the server's /tokenize.
"""

import json
import os
import sys
import urllib.request

import xllamacpp

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = 256
    params.n_parallel = 1
    server = xllamacpp.Server(params)
    url = server.listening_address + "/tokenize"
    with open(os.path.join(HERE, "lines.jsonl"), encoding="ascii") as lines:
        texts = [json.loads(line) for line in lines]
    with open(os.path.join(HERE, "golden.txt"), "w", encoding="ascii", newline="\n") as out:
        for text in texts:
            body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
            request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
            with urllib.request.urlopen(request) as response:
                tokens = json.load(response)["tokens"]
            out.write(" ".join(map(str, tokens)) + "\n")


if __name__ == "__main__":
    main()
