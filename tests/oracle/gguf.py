"""A small GGUF reader and writer in numpy, independent of ours and of ggml's. Types: F32, F16, BF16, Q8_0, Q4_K, Q6_K."""
import struct

import numpy as np

F32, F16, Q8_0, Q4_K, Q6_K, BF16 = 0, 1, 8, 12, 14, 30
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q8_0: (32, 34), Q4_K: (256, 144), Q6_K: (256, 210)}
U32, INT32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


# --- blocks to numbers -------------------------------------------------------------------------------------------

def half(b):
    return np.ascontiguousarray(b).view(np.float16).astype(np.float32)


def decode_q8_0(raw):
    b = raw.reshape(-1, 34)
    return half(b[:, :2]) * b[:, 2:].view(np.int8).astype(np.float32)


def q4_k_scales(s):
    """12 bytes hold eight 6-bit scales and eight 6-bit minima."""
    low, mid, high = s[:, 0:4], s[:, 4:8], s[:, 8:12]
    scale = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], 1)
    least = np.concatenate([mid & 63, (high >> 4) | (mid >> 6) << 4], 1)
    return scale.astype(np.float32), least.astype(np.float32)


def decode_q4_k(raw):
    b = raw.reshape(-1, 144)
    d, dmin = half(b[:, 0:2]), half(b[:, 2:4])
    scale, least = q4_k_scales(b[:, 4:16])
    q = b[:, 16:].reshape(-1, 4, 1, 32)
    q = np.concatenate([q & 15, q >> 4], 2).reshape(-1, 8, 32).astype(np.float32)
    return (d * scale)[:, :, None] * q - (dmin * least)[:, :, None]


def decode_q6_k(raw):
    b = raw.reshape(-1, 210)
    ql, qh = b[:, :128].reshape(-1, 2, 2, 32), b[:, 128:192].reshape(-1, 2, 32)
    scale, d = b[:, 192:208].view(np.int8).astype(np.float32), half(b[:, 208:210])
    q = np.stack([(ql[:, :, i % 2] >> 4 * (i // 2) & 15) | (qh >> 2 * i & 3) << 4 for i in range(4)], 2)
    return (d * scale)[:, :, None] * (q.reshape(-1, 16, 16).astype(np.float32) - 32)


def decode(kind, raw):
    if kind == F32:
        return raw.view(np.float32)
    if kind == F16:
        return raw.view(np.float16).astype(np.float32)
    if kind == BF16:
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return {Q8_0: decode_q8_0, Q4_K: decode_q4_k, Q6_K: decode_q6_k}[kind](raw).reshape(-1)


# --- numbers to blocks: plain rounding, no search ------------------------------------------------------------------

def bytes_of(x):
    return np.ascontiguousarray(x).view(np.uint8)


def divide(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, np.float32), where=b != 0)


def encode_q8_0(x):
    x = x.reshape(-1, 32)
    d = (np.abs(x).max(1, keepdims=True) / 127).astype(np.float16)
    q = np.clip(np.rint(divide(x, d.astype(np.float32))), -127, 127).astype(np.int8)
    return np.concatenate([bytes_of(d), bytes_of(q)], 1)


def encode_q4_k(x):
    x = x.reshape(-1, 8, 32)
    least = np.maximum(0, -x.min(2))
    scale = (x.max(2) + least) / 15
    d, dmin = (scale.max(1, keepdims=True) / 63).astype(np.float16), (least.max(1, keepdims=True) / 63).astype(np.float16)
    s = np.clip(np.rint(divide(scale, d.astype(np.float32))), 0, 63).astype(np.uint8)
    m = np.clip(np.rint(divide(least, dmin.astype(np.float32))), 0, 63).astype(np.uint8)
    own, off = d.astype(np.float32) * s, dmin.astype(np.float32) * m
    q = np.clip(np.rint(divide(x + off[:, :, None], own[:, :, None])), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    packed = np.concatenate([s[:, :4] | (s[:, 4:] >> 4) << 6, m[:, :4] | (m[:, 4:] >> 4) << 6, (s[:, 4:] & 15) | (m[:, 4:] & 15) << 4], 1)
    return np.concatenate([bytes_of(d), bytes_of(dmin), packed, (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)], 1)


def encode_q6_k(x):
    x = x.reshape(-1, 16, 16)
    scale = np.abs(x).max(2) / 31
    d = (scale.max(1, keepdims=True) / 127).astype(np.float16)
    s = np.clip(np.rint(divide(scale, d.astype(np.float32))), 0, 127).astype(np.int8)
    own = d.astype(np.float32) * s
    q = (np.clip(np.rint(divide(x, own[:, :, None])), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = np.stack([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], 2).reshape(-1, 128)
    qh = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(-1, 64)
    return np.concatenate([ql, qh, bytes_of(s), bytes_of(d)], 1)


def encode(kind, x):
    x = np.ascontiguousarray(x, np.float32)
    if kind == F32:
        return bytes_of(x).tobytes()
    if kind == F16:
        return bytes_of(x.astype(np.float16)).tobytes()
    if kind == BF16:
        u = x.view(np.uint32)
        return bytes_of(((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)).tobytes()
    return {Q8_0: encode_q8_0, Q4_K: encode_q4_k, Q6_K: encode_q6_k}[kind](x).tobytes()


# --- files ---------------------------------------------------------------------------------------------------------

def text(s):
    return struct.pack('<Q', len(s)) + s.encode()


def write(path, keys, tensors):
    """keys: name -> str, int or float; tensors: name -> (kind, array of rows)."""
    out = struct.pack('<4sIQQ', b'GGUF', 3, len(tensors), len(keys))
    for name, v in keys.items():
        out += text(name)
        if isinstance(v, str):
            out += struct.pack('<I', STRING) + text(v)
        elif isinstance(v, int):
            out += struct.pack('<II', U32, v)
        else:
            out += struct.pack('<If', FLOAT, v)
    data = b''
    for name, (kind, x) in tensors.items():
        dims = x.shape[::-1]
        out += text(name) + struct.pack('<I', len(dims)) + struct.pack('<%dQ' % len(dims), *dims)
        out += struct.pack('<IQ', kind, len(data))
        raw = encode(kind, x)
        data += raw + bytes(-len(raw) % 32)
    with open(path, 'wb') as f:
        f.write(out + bytes(-len(out) % 32) + data)


def read(path):
    """Back to (keys, tensors as float32 arrays). Enough for files without arrays."""
    raw = np.fromfile(path, np.uint8)
    blob, at = raw.tobytes(), 0

    def take(form):
        nonlocal at
        v = struct.unpack_from('<' + form, blob, at)
        at += struct.calcsize('<' + form)
        return v[0]

    def string():
        nonlocal at
        n = take('Q')
        at += n
        return blob[at - n:at].decode()

    assert take('I') == 0x46554747 and take('I') == 3
    n_tensors, n_keys = take('Q'), take('Q')
    keys, infos, tensors = {}, [], {}
    for _ in range(n_keys):
        name, kind = string(), take('I')
        keys[name] = string() if kind == STRING else take({U32: 'I', INT32: 'i', FLOAT: 'f'}[kind])
    for _ in range(n_tensors):
        name = string()
        dims = [take('Q') for _ in range(take('I'))]
        infos.append((name, dims, take('I'), take('Q')))
    at += -at % 32
    for name, dims, kind, offset in infos:
        n, size = BLOCK[kind]
        part = raw[at + offset:at + offset + int(np.prod(dims)) // n * size].copy()
        tensors[name] = decode(kind, part).reshape(dims[::-1])
    return keys, tensors
