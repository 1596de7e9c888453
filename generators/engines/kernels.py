"""Compiled loops between the matrix products; rows of a tile lie in the SIMD lanes, where inner loops run.

All arrays are C-contiguous with the lane axis B last. Compiled once per machine: the cache lies beside this
file or, where that cannot be written, in the user's cache folder. The error model is numpy's because Python's
checks every division for zero, and loops with a check are not vectorised.
"""

from __future__ import annotations

import numpy as np
from numba import njit

F = np.float32


@njit(fastmath=True, error_model="numpy")
def _exp(x):  # type: ignore[no-untyped-def]
    """Float32 exp to 1.2e-7 relative (Cephes' polynomial) that LLVM vectorises; numba's is a call each."""
    x = min(max(x, F(-87.0)), F(87.0))
    n = np.floor(x * F(1.44269504088896341) + F(0.5))
    r = x - n * F(0.693359375) + n * F(2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1.0)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * power.view(np.float32)


@njit(fastmath=True, error_model="numpy")
def _lane_scale(x, eps):  # type: ignore[no-untyped-def]
    """1 / root mean square of every lane of x (d, B): the norm, whose gain is folded into the next matrix."""
    width, lanes = x.shape
    scale = np.zeros(lanes, np.float32)
    for j in range(width):
        for b in range(lanes):
            scale[b] += x[j, b] * x[j, b]
    for b in range(lanes):
        scale[b] = F(1.0) / np.sqrt(scale[b] / F(width) + eps)
    return scale


@njit(cache=True, fastmath=True, error_model="numpy")
def attend(x, qkv, kv, layer, now, cos, sin, eps, out):  # type: ignore[no-untyped-def]
    """Norm, rotary, store key and value of position `now`, attend over 0..now.

    x (d, B), qkv ((H + 2 G) hd, B), kv (T, layers, 2, G, hd, B), cos and sin (T, hd / 2), out (H hd, B).
    """
    groups, hd, lanes = kv.shape[3], kv.shape[4], kv.shape[5]
    half, heads = hd // 2, out.shape[0] // hd
    scale = _lane_scale(x, eps)
    for g in range(groups):
        k, v = (heads + g) * hd, (heads + groups + g) * hd
        for j in range(half):
            c, s = cos[now, j], sin[now, j]
            for b in range(lanes):
                one, two = qkv[k + j, b] * scale[b], qkv[k + j + half, b] * scale[b]
                kv[now, layer, 0, g, j, b] = one * c - two * s
                kv[now, layer, 0, g, j + half, b] = two * c + one * s
        for j in range(hd):
            for b in range(lanes):
                kv[now, layer, 1, g, j, b] = qkv[v + j, b] * scale[b]
    query = np.empty((hd, lanes), np.float32)
    score = np.empty((now + 1, lanes), np.float32)
    for h in range(heads):
        g = h // (heads // groups)
        for j in range(half):
            c, s = cos[now, j], sin[now, j]
            for b in range(lanes):
                one, two = qkv[h * hd + j, b] * scale[b], qkv[h * hd + j + half, b] * scale[b]
                query[j, b] = one * c - two * s
                query[j + half, b] = two * c + one * s
        for t in range(now + 1):
            _dot(query, kv[t, layer, 0, g], score[t])
        _softmax(score)
        _mix(score, kv, layer, g, now, out[h * hd : (h + 1) * hd])


@njit(fastmath=True, error_model="numpy")
def _dot(query, key, score):  # type: ignore[no-untyped-def]
    """score[b] = sum over j of query[j, b] key[j, b], four j for each load and store of it."""
    hd, lanes = query.shape
    whole = hd - hd % 4
    for b in range(lanes):
        score[b] = F(0.0)
    for j in range(0, whole, 4):
        for b in range(lanes):
            score[b] += (
                query[j, b] * key[j, b]
                + query[j + 1, b] * key[j + 1, b]
                + query[j + 2, b] * key[j + 2, b]
                + query[j + 3, b] * key[j + 3, b]
            )
    for j in range(whole, hd):
        for b in range(lanes):
            score[b] += query[j, b] * key[j, b]


@njit(fastmath=True, error_model="numpy")
def _softmax(score):  # type: ignore[no-untyped-def]
    """Over axis 0, in place."""
    length, lanes = score.shape
    most = score[0].copy()
    total = np.zeros(lanes, np.float32)
    for t in range(1, length):
        for b in range(lanes):
            most[b] = max(most[b], score[t, b])
    for t in range(length):
        for b in range(lanes):
            e = _exp(score[t, b] - most[b])
            score[t, b] = e
            total[b] += e
    for b in range(lanes):
        total[b] = F(1.0) / total[b]
    for t in range(length):
        for b in range(lanes):
            score[t, b] *= total[b]


@njit(fastmath=True, error_model="numpy")
def _mix(share, kv, layer, g, now, out):  # type: ignore[no-untyped-def]
    """out[j, b] = sum over t of share[t, b] value[t, j, b], four positions at a time."""
    hd, lanes = out.shape
    length = now + 1
    first = length % 4
    for j in range(hd):
        for b in range(lanes):
            out[j, b] = F(0.0)
        for t in range(first):
            for b in range(lanes):
                out[j, b] += share[t, b] * kv[t, layer, 1, g, j, b]
    for t in range(first, length, 4):
        for j in range(hd):
            for b in range(lanes):
                out[j, b] += (
                    share[t, b] * kv[t, layer, 1, g, j, b]
                    + share[t + 1, b] * kv[t + 1, layer, 1, g, j, b]
                    + share[t + 2, b] * kv[t + 2, layer, 1, g, j, b]
                    + share[t + 3, b] * kv[t + 3, layer, 1, g, j, b]
                )


@njit(cache=True, fastmath=True, error_model="numpy")
def swiglu(x, gate_up, eps, out):  # type: ignore[no-untyped-def]
    """out (ff, B) = silu(gate) up of gate_up (2 ff, B), normed by the lanes of x (d, B)."""
    ff, lanes = out.shape
    scale = _lane_scale(x, eps)
    for j in range(ff):
        gate, up, row = gate_up[j], gate_up[ff + j], out[j]
        for b in range(lanes):
            g = gate[b] * scale[b]
            row[b] = g * (up[b] * scale[b]) / (F(1.0) + _exp(-g))


@njit(cache=True, fastmath=True, error_model="numpy")
def finish(x, logits, eps, log_sum):  # type: ignore[no-untyped-def]
    """Norm logits (V, B) by the lanes of x in place; log_sum (B,) f64 becomes ln of their summed exp."""
    vocab, lanes = logits.shape
    scale = _lane_scale(x, eps)
    most = np.full(lanes, F(-3e38))
    for v in range(vocab):
        for b in range(lanes):
            logits[v, b] *= scale[b]
            most[b] = max(most[b], logits[v, b])
    log_sum[:] = 0.0
    for v in range(vocab):
        for b in range(lanes):
            log_sum[b] += np.float64(_exp(logits[v, b] - most[b]))
    for b in range(lanes):
        log_sum[b] = np.log(log_sum[b]) + most[b]


@njit(cache=True, fastmath=True, error_model="numpy")
def soften(logits, temperature, weight):  # type: ignore[no-untyped-def]
    """weight (V, B) f64 = exp(logits / temperature), 1 for each lane's most likely token."""
    vocab, lanes = logits.shape
    most = logits[0].copy()
    for v in range(1, vocab):
        for b in range(lanes):
            most[b] = max(most[b], logits[v, b])
    inverse = F(1.0 / temperature)
    for v in range(vocab):
        for b in range(lanes):
            weight[v, b] = np.float64(_exp((logits[v, b] - most[b]) * inverse))


@njit(cache=True)
def accumulate(weight, cumulative):  # type: ignore[no-untyped-def]
    """Cumulative sums over the tokens of every lane; numpy's go down a strided column."""
    cumulative[0] = weight[0]
    for v in range(1, weight.shape[0]):
        for b in range(weight.shape[1]):
            cumulative[v, b] = cumulative[v - 1, b] + weight[v, b]


@njit(cache=True)
def invert(cumulative, lane, uniform, token):  # type: ignore[no-untyped-def]
    """token[i] = first v with cumulative[v, lane[i]] > uniform[i] × the total; never one of weight 0."""
    vocab = cumulative.shape[0]
    for i in range(lane.size):
        b = lane[i]
        want = uniform[i] * (cumulative[vocab - 1, b] * (1 - 2.0**-52))  # the product may round up
        low, high = 0, vocab - 1
        while low < high:
            middle = (low + high) // 2
            if cumulative[middle, b] > want:
                high = middle
            else:
                low = middle + 1
        token[i] = low


@njit(cache=True)
def gather(source, lane, target, start):  # type: ignore[no-untyped-def]
    """target[r, start + i] = source[r, lane[i]] for every r; lane is uint64: signed ones may be negative."""
    for r in range(source.shape[0]):
        parents, children = source[r], target[r, start : start + lane.size]
        for i in range(lane.size):
            children[i] = parents[lane[i]]
