#!/usr/bin/env python3
"""Training steps: ours against PyTorch on the same BLAS, threads, model and micro-batches, taking turns.

  train_step_torch.py PROGRAM [SECONDS_PER_WIDTH] [WIDTHS...]

A round is 4 micro-batches of 512 rows (5 samples), forward and backward, and one AdamW step. PyTorch is written as one
would: fused projections, rms_norm, scaled_dot_product_attention (per sample, causal; or all samples under one block
mask: whichever is faster at that width), fused AdamW. Prints tokens/s of both and the median ratio of neighbouring
rounds; also as JSON in build/figures/train.json. On a busy machine BENCH_THREADS=1 BENCH_CLOCK=cpu measures the
processes' own time.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

ROWS = [96, 57, 131, 120, 108]
MICRO = 4
THREADS = int(os.environ.get("BENCH_THREADS", os.cpu_count()))
CLOCK = os.environ.get("BENCH_CLOCK", "wall")
now = time.process_time if CLOCK == "cpu" else time.perf_counter


class Block(nn.Module):
    def __init__(self, d, heads, kv):
        super().__init__()
        self.heads, self.kv, self.hd = heads, kv, d // heads
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-5), nn.RMSNorm(d, eps=1e-5)
        self.qkv = nn.Linear(d, (heads + 2 * kv) * self.hd, bias=False)
        self.o = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 6 * d, bias=False)
        self.down = nn.Linear(3 * d, d, bias=False)

    def attention(self, q, k, v, mask):
        # [heads, T, hd]
        if mask is not None:
            return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, enable_gqa=True)[0]
        parts = [F.scaled_dot_product_attention(a[None], b[None], c[None], is_causal=True, enable_gqa=True)[0]
                 for a, b, c in zip(q.split(ROWS, 1), k.split(ROWS, 1), v.split(ROWS, 1))]
        return torch.cat(parts, 1)

    def forward(self, x, cos, sin, mask):
        n = x.shape[0]
        qkv = self.qkv(self.norm1(x)).view(n, self.heads + 2 * self.kv, self.hd)
        qk, v = qkv.split([self.heads + self.kv, self.kv], 1)
        even, odd = qk[..., 0::2], qk[..., 1::2]
        qk = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)
        q, k = qk.transpose(0, 1).split([self.heads, self.kv], 0)
        att = self.attention(q, k, v.transpose(0, 1), mask)
        x = x + self.o(att.transpose(0, 1).reshape(n, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, d, blocks, vocab, use_mask):
        super().__init__()
        heads = d // 64
        self.blocks = nn.ModuleList(Block(d, heads, heads // 2) for _ in range(blocks))
        if vocab:
            self.embed = nn.Embedding(vocab, d)
            self.norm, self.out = nn.RMSNorm(d, eps=1e-5), nn.Linear(d, vocab, bias=False)
        pos = torch.cat([torch.arange(n) for n in ROWS]).float()
        angle = pos[:, None] * 10000 ** (-torch.arange(0, 64, 2).float() / 64)
        self.cos, self.sin = angle.cos()[:, None], angle.sin()[:, None]
        sample = torch.repeat_interleave(torch.arange(len(ROWS)), torch.tensor(ROWS))
        self.mask = (sample[:, None] == sample) & (pos[:, None] >= pos) if use_mask else None

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.cos, self.sin, self.mask)
        return x


class TorchSide:
    def __init__(self, d, blocks, vocab, use_mask):
        torch.manual_seed(1)
        self.vocab, self.model = vocab, Model(d, blocks, vocab, use_mask)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-5, betas=(0.9, 0.95), fused=True)
        self.x, self.grad = torch.rand(sum(ROWS), d) * 2 - 1, torch.rand(sum(ROWS), d) * 2 - 1
        if vocab:
            self.tokens, self.targets = torch.randint(vocab, (sum(ROWS),)), torch.randint(vocab, (sum(ROWS),))

    def micro_batch(self):
        if self.vocab:
            h = self.model.norm(self.model(self.model.embed(self.tokens)))
            F.cross_entropy(self.model.out(h), self.targets, reduction="sum").backward()
        else:
            self.model(self.x.detach().requires_grad_()).backward(self.grad)

    def round(self):
        start = now()
        for _ in range(MICRO):
            self.micro_batch()
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        return (now() - start) * 1e3


class OurSide:
    def __init__(self, program, d, blocks, vocab):
        self.p = subprocess.Popen([program, str(d), str(blocks), str(vocab), str(THREADS), CLOCK], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def round(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return float(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def race(program, d, vocab, seconds):
    blocks = 4 if d < 1024 else 1
    sides = [TorchSide(d, blocks, vocab, m) for m in (False, True)]
    for s in sides:
        s.round()
    best = min(sides, key=lambda s: min(s.round() for _ in range(3)))
    ours = OurSide(program, d, blocks, vocab)
    ours.round()
    pairs, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(pairs) < 7:
        pairs.append((ours.round(), best.round()))
    ours.close()
    ratios = sorted(t / o for o, t in pairs)
    tokens = MICRO * sum(ROWS)
    got = {
        "d": d, "blocks": blocks, "vocab": vocab, "pairs": len(pairs), "torch_attention": "mask" if best is sides[1] else "per sample",
        "ours_tokens_per_s": round(tokens / statistics.median(o for o, _ in pairs) * 1e3),
        "torch_tokens_per_s": round(tokens / statistics.median(t for _, t in pairs) * 1e3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[3 * len(ratios) // 4], 3)],
    }
    print("d=%(d)d vocab=%(vocab)d: ours %(ours_tokens_per_s)d tokens/s, PyTorch %(torch_tokens_per_s)d "
          "(%(torch_attention)s): ratio %(ratio).2f, quartiles %(ratio_quartiles)s, %(pairs)d pairs" % got, flush=True)
    return got


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10
    widths = [int(w) for w in sys.argv[3:]] or [128, 256, 512, 1024]
    torch.set_num_threads(THREADS)
    results = [race(program, d, vocab, seconds) for d in widths for vocab in (0, 4096)]
    os.makedirs("build/figures", exist_ok=True)
    with open("build/figures/train.json", "w") as f:
        json.dump({"threads": THREADS, "clock": CLOCK, "rows": ROWS, "results": results}, f, indent=1)


main()
