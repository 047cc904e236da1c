#!/usr/bin/env python3
"""Random rank-8 adapters as GGUF, for measuring what they cost llama.cpp: what they say means nothing.

usage: make_adapters.py MODEL.gguf OUT COUNT      needs gguf and numpy
Writes OUT/lora_00.gguf … on attn_q, attn_k, attn_v and attn_output of every layer, in the sizes of the model.
"""
import os
import sys

import gguf
import numpy as np

RANK, ALPHA = 8, 16.0
TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output")

model, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
reader = gguf.GGUFReader(model)
# A weight's shape is (inputs, outputs) in GGUF's order.
targets = [
    (tensor.name, int(tensor.shape[0]), int(tensor.shape[1]))
    for tensor in reader.tensors
    if tensor.name.startswith("blk.") and tensor.name.split(".")[2] in TARGETS and tensor.name.endswith(".weight")
]
assert targets, f"{model} has no attention weights"
architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE).contents()
os.makedirs(out, exist_ok=True)
for number in range(count):
    rng = np.random.default_rng(1000 + number)
    writer = gguf.GGUFWriter(f"{out}/lora_{number:02d}.gguf", architecture)
    writer.add_string(gguf.Keys.General.TYPE, "adapter")
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_string(gguf.Keys.General.NAME, f"noise{number}")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, ALPHA)
    for name, inputs, outputs in targets:
        a = (rng.standard_normal((RANK, inputs)) * 0.02).astype(np.float32)
        b = (rng.standard_normal((outputs, RANK)) * 0.02).astype(np.float32)
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
