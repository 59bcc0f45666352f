#!/usr/bin/env python3
"""Our logits against a plain implementation of llama, qwen2 and qwen3 in PyTorch's float64.

  oracle.py INFER_LOGITS       makes small models, asks INFER_LOGITS for ours, compares; exit 1 when one is off

What is held: logits of F32 weights with an F32 cache within 1e-4; with an F16 cache, and for quantised weights against
the oracle with the same (dequantised) weights and against the F32 model, the mean Kullback-Leibler divergence of the
next token, in nats. Random weights are harder to quantise than trained ones.
"""
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gguf

NAMES = {gguf.F32: 'F32', gguf.F16: 'F16', gguf.BF16: 'BF16', gguf.Q8_0: 'Q8_0', gguf.Q4_K: 'Q4_K', gguf.Q6_K: 'Q6_K'}


# --- the oracle ----------------------------------------------------------------------------------------------------

def angles(k, a, n, t):
    """[n][rot/2] radians, and the factor on the magnitude (YaRN)."""
    head = k[a + '.attention.key_length']
    rot = k.get(a + '.rope.dimension_count', head)
    base = k.get(a + '.rope.freq_base', 10000.0)
    freq = base ** (-torch.arange(0, rot, 2, dtype=torch.float64) / rot)
    if 'rope_freqs.weight' in t:
        freq = freq / t['rope_freqs.weight']
    kind, factor, m = k.get(a + '.rope.scaling.type', 'none'), k.get(a + '.rope.scaling.factor', 1.0), 1.0
    if kind == 'linear':
        freq = freq / factor
    if kind == 'yarn':
        original = k[a + '.rope.scaling.original_context_length']
        dim = [rot * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (32.0, 1.0)]
        low, high = max(0, math.floor(dim[0])), min(rot - 1, math.ceil(dim[1]))
        ramp = ((torch.arange(rot // 2, dtype=torch.float64) - low) / max(0.001, high - low)).clamp(0, 1)
        freq = freq / factor * ramp + freq * (1 - ramp)
        m = 1 + 0.1 * math.log(factor)
    return torch.arange(n, dtype=torch.float64)[:, None] * freq, m


def rotate(x, ang, m, interleaved):
    """x: [n][heads][dim]"""
    rot = 2 * ang.shape[1]
    c, s = (ang.cos() * m)[:, None], (ang.sin() * m)[:, None]
    part = x[..., :rot]
    p, q = (part[..., 0::2], part[..., 1::2]) if interleaved else (part[..., :rot // 2], part[..., rot // 2:])
    r = torch.stack([p * c - q * s, p * s + q * c], -1)
    r = r.flatten(-2) if interleaved else torch.cat([r[..., 0], r[..., 1]], -1)
    return torch.cat([r, x[..., rot:]], -1)


def oracle(path, tokens):
    k, t = gguf.read(path)
    a = k['general.architecture']
    t = {name: torch.tensor(w, dtype=torch.float64) for name, w in t.items()}
    eps, n = k[a + '.attention.layer_norm_rms_epsilon'], len(tokens)
    heads, kv, dim = k[a + '.attention.head_count'], k[a + '.attention.head_count_kv'], k[a + '.attention.key_length']
    window = k.get(a + '.attention.sliding_window', 0)
    ang, m = angles(k, a, n, t)
    i = torch.arange(n)
    hidden = i[None, :] > i[:, None]
    if window:
        hidden |= i[None, :] <= i[:, None] - window

    def norm(x, w):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w

    x = t['token_embd.weight'][torch.tensor(tokens)]
    for b in range(k[a + '.block_count']):
        def w(name):
            return t.get('blk.%d.%s' % (b, name))
        h = norm(x, w('attn_norm.weight'))
        q, key, v = (h @ w('attn_%s.weight' % p).T + (0 if w('attn_%s.bias' % p) is None else w('attn_%s.bias' % p)) for p in 'qkv')
        q, key, v = q.view(n, heads, dim), key.view(n, kv, dim), v.view(n, kv, dim)
        if a == 'qwen3':
            q, key = norm(q, w('attn_q_norm.weight')), norm(key, w('attn_k_norm.weight'))
        q, key = rotate(q, ang, m, a == 'llama'), rotate(key, ang, m, a == 'llama')
        key, v = key.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        s = torch.einsum('ihd,jhd->hij', q, key) / math.sqrt(dim)
        s = s.masked_fill(hidden, -math.inf).softmax(-1)
        x = x + torch.einsum('hij,jhd->ihd', s, v).reshape(n, -1) @ w('attn_output.weight').T
        h = norm(x, w('ffn_norm.weight'))
        g = h @ w('ffn_gate.weight').T
        x = x + (g * torch.sigmoid(g) * (h @ w('ffn_up.weight').T)) @ w('ffn_down.weight').T
    out = t['output.weight'] if 'output.weight' in t else t['token_embd.weight']
    return norm(x, t['output_norm.weight']) @ out.T


# --- models --------------------------------------------------------------------------------------------------------

def make(path, arch, kind=gguf.F32, tied=False, d=64, heads=4, kv=2, dim=16, ff=160, vocab=300, blocks=3, freqs=False, bias=None, sharp=2.0, **more):
    """Weights are the same noise for every `kind`. sharp: of attention and of the logits; errors grow with it."""
    r = np.random.default_rng(7)
    keys = {'general.architecture': arch}
    own = {'block_count': blocks, 'context_length': 4096, 'embedding_length': d, 'feed_forward_length': ff,
           'attention.head_count': heads, 'attention.head_count_kv': kv, 'attention.key_length': dim,
           'attention.value_length': dim, 'attention.layer_norm_rms_epsilon': 1e-5, **more}
    keys.update({arch + '.' + name: v for name, v in own.items()})
    t = {}

    def matrix(name, rows, columns, gain=1.0):
        t[name] = (kind, (r.standard_normal((rows, columns)) * gain / math.sqrt(columns)).astype(np.float32))

    def vector(name, n, mean, spread):
        t[name] = (gguf.F32, (mean + spread * r.standard_normal(n)).astype(np.float32))

    matrix('token_embd.weight', vocab, d, 2.0)
    vector('output_norm.weight', d, 1, 0.1)
    if not tied:
        matrix('output.weight', vocab, d, sharp)
    for b in range(blocks):
        p = 'blk.%d.' % b
        vector(p + 'attn_norm.weight', d, 1, 0.1)
        matrix(p + 'attn_q.weight', heads * dim, d, sharp)
        matrix(p + 'attn_k.weight', kv * dim, d, sharp)
        matrix(p + 'attn_v.weight', kv * dim, d)
        if bias if bias is not None else arch == 'qwen2':
            for name, n in (('q', heads), ('k', kv), ('v', kv)):
                vector(p + 'attn_%s.bias' % name, n * dim, 0, 0.5)
        if arch == 'qwen3':
            vector(p + 'attn_q_norm.weight', dim, 1, 0.2)
            vector(p + 'attn_k_norm.weight', dim, 1, 0.2)
        matrix(p + 'attn_output.weight', d, heads * dim)
        vector(p + 'ffn_norm.weight', d, 1, 0.1)
        matrix(p + 'ffn_gate.weight', ff, d)
        matrix(p + 'ffn_up.weight', ff, d)
        matrix(p + 'ffn_down.weight', d, ff)
    if freqs:
        t['rope_freqs.weight'] = (gguf.F32, np.linspace(1, 8, own.get('rope.dimension_count', dim) // 2).astype(np.float32))
    gguf.write(path, keys, t)


# --- comparison ----------------------------------------------------------------------------------------------------

def ours(program, model, tokens, cache, folder):
    tokens_path, out = os.path.join(folder, 'tokens'), os.path.join(folder, 'logits')
    np.array(tokens, np.int32).tofile(tokens_path)
    subprocess.run([program, model, tokens_path, out, cache], check=True)
    return torch.tensor(np.fromfile(out, np.float32).reshape(len(tokens), -1), dtype=torch.float64)


def kl(want, got):
    p, q = want.log_softmax(-1), got.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


failed = 0


def check(name, value, limit):
    global failed
    ok = value <= limit
    failed += not ok
    print('%-4s %-62s %.2e (at most %.0e)' % ('ok' if ok else 'FAIL', name, value, limit), flush=True)


def exact_cases():
    for arch in ('llama', 'qwen2', 'qwen3'):
        for tied in (False, True):
            yield '%s, %s' % (arch, 'tied' if tied else 'untied'), dict(arch=arch, tied=tied)
        yarn = {'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4.0, 'rope.scaling.original_context_length': 64}
        yield arch + ', yarn', dict(arch=arch, dim=32, **yarn)
        yield arch + ', linear', dict(arch=arch, **{'rope.scaling.type': 'linear', 'rope.scaling.factor': 2.0})
        yield arch + ', sliding window 20', dict(arch=arch, **{'attention.sliding_window': 20})
    yield 'llama, frequency factors', dict(arch='llama', freqs=True, **{'rope.freq_base': 500000.0})
    yield 'llama, half of each head rotates', dict(arch='llama', dim=32, **{'rope.dimension_count': 16})
    yield 'qwen2, half of each head rotates', dict(arch='qwen2', dim=32, **{'rope.dimension_count': 16})
    yield 'llama with biases', dict(arch='llama', bias=True)
    yield 'llama, one kv head for eight', dict(arch='llama', heads=8, kv=1)
    yield 'qwen3, every head its own, odd sizes', dict(arch='qwen3', heads=5, kv=5, dim=22, d=90, ff=202, vocab=301)


def main():
    program = sys.argv[1]
    torch.set_num_threads(1)
    tokens = [int(x) for x in np.random.default_rng(3).integers(0, 300, 150)]
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, 'model.gguf')
        for name, spec in exact_cases():
            make(model, **spec)
            want = oracle(model, tokens)
            check(name + ', F32: largest difference', float((ours(program, model, tokens, 'f32', folder) - want).abs().max()), 1e-4)
            check(name + ', F16 cache: divergence', kl(want, ours(program, model, tokens, 'f16', folder)), 1e-4)
        big = dict(sharp=1.0, d=256, heads=8, kv=2, dim=32, ff=512, vocab=320)
        # Against the same weights (activations are rounded to 8 bits, F16 or BF16), and against the F32 model.
        limits = {gguf.F16: (1e-5, 1e-5), gguf.BF16: (1e-3, 1e-3), gguf.Q8_0: (1e-3, 2e-3), gguf.Q6_K: (1e-3, 1e-2), gguf.Q4_K: (1e-3, 1e-1)}
        for arch in ('llama', 'qwen2', 'qwen3'):
            make(model, arch, **big)
            base = oracle(model, tokens)
            for kind, (same, full) in limits.items():
                make(model, arch, kind=kind, **big)
                got = ours(program, model, tokens, 'f16', folder)
                check('%s, %s: divergence from the same weights' % (arch, NAMES[kind]), kl(oracle(model, tokens), got), same)
                check('%s, %s: divergence from the F32 model' % (arch, NAMES[kind]), kl(base, got), full)
    sys.exit(1 if failed else 0)


main()
