"""Compiled loops of training; tokens lie in the SIMD lanes, so that no inner loop runs over features.

Arrays are C-contiguous float32 with the lane axis last: N = T·B lanes, position-major. Numba compiles the
loops once per machine and keeps the result beside this file.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from driftloop.generators.engines.kernels import _exp

F = np.float32


@njit(cache=True, fastmath=True, error_model="numpy")
def embed(table, ids, x):  # type: ignore[no-untyped-def]
    """x (d, N) = columns table[ids] of table (V, d)."""
    for j in range(x.shape[0]):
        row = x[j]
        for n in range(ids.size):
            row[n] = table[ids[n], j]


@njit(cache=True, fastmath=True, error_model="numpy")
def embed_back(dx, ids, grad):  # type: ignore[no-untyped-def]
    """Add the columns of dx (d, N) to the rows grad[ids]."""
    for j in range(dx.shape[0]):
        row = dx[j]
        for n in range(ids.size):
            grad[ids[n], j] += row[n]


@njit(cache=True, fastmath=True, error_model="numpy")
def norm(x, gain, eps, scale, out):  # type: ignore[no-untyped-def]
    """out (d, N) = x · scale · gain with scale (N,) = 1 / root mean square over the features."""
    width, lanes = x.shape
    scale[:] = F(0)
    for j in range(width):
        row = x[j]
        for n in range(lanes):
            scale[n] += row[n] * row[n]
    for n in range(lanes):
        scale[n] = F(1) / np.sqrt(scale[n] / F(width) + F(eps))
    for j in range(width):
        row, to, g = x[j], out[j], gain[j]
        for n in range(lanes):
            to[n] = row[n] * scale[n] * g


@njit(cache=True, fastmath=True, error_model="numpy")
def norm_back(dout, x, gain, scale, dgain, dx):  # type: ignore[no-untyped-def]
    """Add the gradient of `norm` to dx (d, N) and write that of its gain to dgain (d,)."""
    width, lanes = x.shape
    along = np.zeros(lanes, np.float32)
    for j in range(width):
        row, back, g = x[j], dout[j], gain[j]
        total = F(0)
        for n in range(lanes):
            product = back[n] * row[n] * scale[n]
            total += product
            along[n] += product * g
        dgain[j] = total
    for n in range(lanes):
        along[n] *= scale[n] * scale[n] / F(width)
    for j in range(width):
        row, back, to, g = x[j], dout[j], dx[j], gain[j]
        for n in range(lanes):
            to[n] += scale[n] * g * back[n] - along[n] * row[n]


@njit(cache=True, fastmath=True, error_model="numpy")
def rotate(rows, heads, cos, sin):  # type: ignore[no-untyped-def]
    """Turn the first `heads` heads of rows (·, T, B) in place by the angles of cos and sin (T, hd/2)."""
    half = cos.shape[1]
    for h in range(heads):
        for j in range(half):
            for t in range(rows.shape[1]):
                c, s = cos[t, j], sin[t, j]
                one, two = rows[2 * half * h + j, t], rows[2 * half * h + half + j, t]
                for b in range(rows.shape[2]):
                    a = one[b]
                    one[b] = a * c - two[b] * s
                    two[b] = two[b] * c + a * s


@njit(cache=True, fastmath=True, error_model="numpy")
def attend(qkv, heads, groups, size, share, out):  # type: ignore[no-untyped-def]
    """Causal attention of turned qkv ((H + 2G) hd, N): out (H hd, N), and the shares (H, T, N).

    `size` = B. The share of the key that is `lag` positions back lies at [head, lag, query]: for one lag, all
    queries and their keys are contiguous, so that every inner loop runs over nearly all lanes.
    """
    hd, lanes = out.shape[0] // heads, out.shape[1]
    small = F(1) / np.sqrt(F(hd))
    for h in range(heads):
        g = h * groups // heads
        q, k, v = h * hd, (heads + g) * hd, (heads + groups + g) * hd
        for lag in range(lanes // size):
            _dot(qkv, q, qkv, k, hd, lag * size, small, share[h, lag])
        _softmax(share[h], size)
        out[q : q + hd] = F(0)
        for lag in range(lanes // size):
            _mix(share[h, lag], qkv, v, out, q, hd, lag * size)


@njit(cache=True, fastmath=True, error_model="numpy")
def attend_back(dout, qkv, share, heads, groups, size, dqkv):  # type: ignore[no-untyped-def]
    """Gradient of `attend` to dqkv (as qkv, still turned); `share` is overwritten."""
    hd, lanes = dout.shape[0] // heads, dout.shape[1]
    small = F(1) / np.sqrt(F(hd))
    back = np.empty((lanes // size, lanes), np.float32)
    dqkv[:] = F(0)
    for h in range(heads):
        g = h * groups // heads
        q, k, v = h * hd, (heads + g) * hd, (heads + groups + g) * hd
        mean = np.zeros(lanes, np.float32)
        for lag in range(lanes // size):
            p, row = share[h, lag], back[lag]
            _dot(dout, q, qkv, v, hd, lag * size, F(1), row)
            for n in range(lag * size, lanes):
                mean[n] += p[n] * row[n]
            _unmix(p, dout, q, dqkv, v, hd, lag * size)
        for lag in range(lanes // size):
            p, row = share[h, lag], back[lag]
            for n in range(lag * size, lanes):
                p[n] *= (row[n] - mean[n]) * small
            _mix(p, qkv, k, dqkv, q, hd, lag * size)
            _unmix(p, qkv, q, dqkv, k, hd, lag * size)


@njit(fastmath=True, error_model="numpy")
def _dot(one, i, two, k, hd, late, small, out):  # type: ignore[no-untyped-def]
    """out[n] = small · sum over j < hd (even) of one[i + j, n] two[k + j, n - late], for n >= late."""
    to = out[late:]
    to[:] = F(0)
    for j in range(0, hd, 2):
        a, b = one[i + j, late:], one[i + j + 1, late:]
        c, d = two[k + j], two[k + j + 1]
        for n in range(to.size):
            to[n] += small * (a[n] * c[n] + b[n] * d[n])


@njit(fastmath=True, error_model="numpy")
def _mix(share, rows, i, out, k, hd, late):  # type: ignore[no-untyped-def]
    """out[k + j, n] += share[n] rows[i + j, n - late]: from keys to queries."""
    p = share[late:]
    for j in range(hd):
        row, to = rows[i + j], out[k + j, late:]
        for n in range(p.size):
            to[n] += p[n] * row[n]


@njit(fastmath=True, error_model="numpy")
def _unmix(share, rows, i, out, k, hd, late):  # type: ignore[no-untyped-def]
    """out[k + j, n - late] += share[n] rows[i + j, n]: from queries to keys."""
    p = share[late:]
    for j in range(hd):
        row, to = rows[i + j, late:], out[k + j]
        for n in range(p.size):
            to[n] += p[n] * row[n]


@njit(fastmath=True, error_model="numpy")
def _softmax(rows, size):  # type: ignore[no-untyped-def]
    """Over the lags that each lane has: lag < lane // size + 1; in place."""
    lanes = rows.shape[1]
    most, total = rows[0].copy(), np.zeros(lanes, np.float32)
    for lag in range(1, lanes // size):
        row = rows[lag]
        for n in range(lag * size, lanes):
            most[n] = max(most[n], row[n])
    for lag in range(lanes // size):
        row = rows[lag]
        for n in range(lag * size, lanes):
            row[n] = _exp(row[n] - most[n])
            total[n] += row[n]
    for n in range(lanes):
        total[n] = F(1) / total[n]
    for lag in range(lanes // size):
        row = rows[lag]
        for n in range(lag * size, lanes):
            row[n] *= total[n]


@njit(cache=True, fastmath=True, error_model="numpy")
def swiglu(gate_up, out):  # type: ignore[no-untyped-def]
    """out (ff, N) = silu(gate) · up of gate_up (2 ff, N)."""
    ff = out.shape[0]
    for j in range(ff):
        gate, up, row = gate_up[j], gate_up[ff + j], out[j]
        for n in range(row.size):
            row[n] = gate[n] * up[n] / (F(1) + _exp(-gate[n]))


@njit(cache=True, fastmath=True, error_model="numpy")
def swiglu_back(dout, gate_up):  # type: ignore[no-untyped-def]
    """Overwrite gate_up (2 ff, N) with its gradient."""
    ff = dout.shape[0]
    for j in range(ff):
        gate, up, row = gate_up[j], gate_up[ff + j], dout[j]
        for n in range(row.size):
            g, u = gate[n], up[n]
            open_share = F(1) / (F(1) + _exp(-g))
            gate[n] = row[n] * u * open_share * (F(1) + g * (F(1) - open_share))
            up[n] = row[n] * g * open_share


@njit(cache=True, fastmath=True, error_model="numpy")
def surprise(logits, target, nll):  # type: ignore[no-untyped-def]
    """nll (M,) = -ln softmax(logits)[target], nats; logits (V, M) become probabilities."""
    vocab, lanes = logits.shape
    for n in range(lanes):
        nll[n] = -logits[target[n], n]
    most, total = logits[0].copy(), np.zeros(lanes, np.float32)
    for v in range(1, vocab):
        row = logits[v]
        for n in range(lanes):
            most[n] = max(most[n], row[n])
    for v in range(vocab):
        row = logits[v]
        for n in range(lanes):
            row[n] = _exp(row[n] - most[n])
            total[n] += row[n]
    for n in range(lanes):
        nll[n] += most[n] + np.log(total[n])
        total[n] = F(1) / total[n]
    for v in range(vocab):
        row = logits[v]
        for n in range(lanes):
            row[n] *= total[n]


@njit(cache=True, fastmath=True, error_model="numpy")
def surprise_back(dnll, target, shares):  # type: ignore[no-untyped-def]
    """Overwrite the probabilities (V, M) with the gradient of the logits."""
    for v in range(shares.shape[0]):
        row = shares[v]
        for n in range(row.size):
            row[n] *= dnll[n]
    for n in range(target.size):
        shares[target[n], n] -= dnll[n]


@njit(cache=True, fastmath=True, error_model="numpy")
def adamw(  # type: ignore[no-untyped-def]
    flat, grad, first, second, scale, rate, decays, decay, betas, step
):
    """One AdamW step (1711.05101) in place on flat (P,), grad · scale; the first `decays` weights decay."""
    one, two = F(betas[0]), F(betas[1])
    bias_one, bias_two = F(1 / (1 - betas[0] ** step)), F(1 / (1 - betas[1] ** step))
    shrink = F(1 - rate * decay)
    for i in range(decays):
        flat[i] *= shrink
    for i in range(flat.size):
        g = grad[i] * F(scale)
        first[i] = one * first[i] + (F(1) - one) * g
        second[i] = two * second[i] + (F(1) - two) * g * g
        flat[i] -= F(rate) * first[i] * bias_one / (np.sqrt(second[i] * bias_two) + F(1e-8))
