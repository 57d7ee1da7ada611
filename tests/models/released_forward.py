"""The released networks written down once more from their papers' facts, on the names that their files use.

Plain functions on a file's arrays, with no layer of ours: what an import is held against. Input (T, B, channels, H, W), output
logits (B, K). Membranes and maps are float64.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


def released_weights(layout: Path, seed: int, often: float = 1.0) -> dict[str, Tensor]:
    """Arrays of exactly the names and shapes of a file in weights_layout, with values that let every layer fire (float64).

    `often`: offset of queries, keys and values, of which three must fire together.
    """
    shapes = {entry["name"]: tuple(entry["shape"]) for entry in json.loads(layout.read_text())["parameters"]}
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("gamma", "lam") or (leaf == "weight" and len(shape) == 1):
            weights[name] = 1.0 + 0.2 * noise
        elif leaf in ("var", "running_var"):
            weights[name] = 0.3 + 0.2 * noise.abs()
        elif leaf.startswith("firing_rate"):
            weights[name] = 0.1 + 0.2 * noise.abs()
        elif leaf == "weight":
            weights[name] = noise / math.sqrt(math.prod(shape[1:]))
        else:  # biases, means, and what sets a leak
            offset = often if re.search(r"\.[qkv](_bn|\.bn|\.\d\.bn)\.", name) else 0.4
            weights[name] = 0.3 * noise + (offset if leaf in ("beta", "bias") else 0.0)
    return weights


def lif(x: Tensor, threshold: float = 1.0, leak: float | Tensor = 0.5, *, soft: bool = False) -> Tensor:
    """Spikes of a current, bins first."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        v = v + (x_t - v) * leak
        s = (v >= threshold).to(x.dtype)
        v = v - s * threshold if soft else torch.where(s > 0, 0.0, v)
        spikes.append(s)
    return torch.stack(spikes)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **how: Any) -> Tensor:
    """Convolution of maps (T, B, C, H, W), or linear layer of tokens (T, B, C, N)."""
    if x.dim() == 5 and weight.dim() == 4:
        y = functional.conv2d(x.flatten(0, 1), weight, bias, **how)
        return y.view(*x.shape[:2], *y.shape[1:])
    y = torch.einsum("oi,tbi...->tbo...", weight.flatten(1), x)
    return y if bias is None else y + bias.view(-1, *[1] * (x.dim() - 3))


def layer(x: Tensor, w: Weights, linear: str, norm: str, **how: Any) -> Tensor:
    """Convolution or linear layer `linear`, then batch norm `norm`; neither fires."""
    y = conv(x, w[f"{linear}.weight"], w.get(f"{linear}.bias"), **how)
    return batch_norm(y, w, norm)


def batch_norm(y: Tensor, w: Weights, norm: str) -> Tensor:
    """Evaluation-mode batch norm over axis 2, by torch's names or by the sheets'."""
    words = ("gamma", "beta", "mean", "var") if f"{norm}.gamma" in w else ("weight", "bias", "running_mean", "running_var")
    gamma, beta, mean, var = (w[f"{norm}.{word}"].view(-1, *[1] * (y.dim() - 3)) for word in words)
    return (y - mean) / torch.sqrt(var + 1e-5) * gamma + beta


def pool(x: Tensor, stride: int = 2) -> Tensor:
    """Max-pool 3x3 of the last two axes, padding 1."""
    y = functional.max_pool2d(x.flatten(0, 1), 3, stride, 1)
    return y.view(*x.shape[:2], *y.shape[1:])


def heads(x: Tensor, n_heads: int) -> Tensor:
    """(T, B, C, N) to (T, B, h, N, d)."""
    return x.flatten(3).unflatten(2, (n_heads, -1)).transpose(-1, -2)


def unheads(o: Tensor) -> Tensor:
    """(T, B, h, N, d) to (T, B, C, N)."""
    return o.transpose(-1, -2).flatten(2, 3)


def _n_blocks(w: Weights, prefix: str = "block") -> int:
    return 1 + max(int(name.split(".")[1]) for name in w if name.startswith(f"{prefix}."))


def spikformer(
    w: Weights, x: Tensor, n_heads: int, *, tim: Mapping[str, float] | None = None, attention: float = 0.5
) -> Tensor:
    """Spikformer for events; with `tim` (mixing, into, out) the interaction after the queries."""
    for i in ("", "1", "2", "3"):
        x = pool(lif(layer(x, w, f"patch_embed.proj_conv{i}", f"patch_embed.proj_bn{i}", padding=1)))
    x = (x + lif(layer(x, w, "patch_embed.rpe_conv", "patch_embed.rpe_bn", padding=1))).flatten(3)
    for i in range(_n_blocks(w)):
        a, m = f"block.{i}.attn", f"block.{i}.mlp"
        q, k, v = (heads(lif(layer(x, w, f"{a}.{n}_conv", f"{a}.{n}_bn")), n_heads) for n in "qkv")
        if tim is not None:
            q = _interaction(q, w[f"{a}.TIM.interactor.weight"], w[f"{a}.TIM.interactor.bias"], **tim)
        o = lif(unheads(q @ k.transpose(-1, -2) @ v * 0.25), attention)
        x = x + lif(layer(o, w, f"{a}.proj_conv", f"{a}.proj_bn"))
        h = lif(layer(x, w, f"{m}.fc1_conv", f"{m}.fc1_bn"))
        x = x + lif(layer(h, w, f"{m}.fc2_conv", f"{m}.fc2_bn"))
    return conv(x.mean(3), w["head.weight"], w["head.bias"]).mean(0)


def _interaction(q: Tensor, weight: Tensor, bias: Tensor, mixing: float, into: float, out: float) -> Tensor:
    steps = [q[0]]
    u_v, y_v = torch.zeros_like(q[0]), torch.zeros_like(q[0])
    for q_t in q[1:]:
        c = functional.conv1d(steps[-1].flatten(0, 1), weight, bias, padding=2).view_as(q_t)
        u_v = (u_v + c) / 2
        u = (u_v >= into).to(q.dtype)
        u_v = u_v * (1 - u)
        y_v = (y_v + mixing * u + (1 - mixing) * q_t) / 2
        s = (y_v >= out).to(q.dtype)
        y_v = y_v * (1 - s)
        steps.append(s)
    return torch.stack(steps)


def qkformer(w: Weights, x: Tensor, n_heads: int) -> Tensor:
    """The file for events: a block of token attention, a block of self-attention."""

    def embed(y: Tensor, part: str, name: str, *, halve: bool, **how: Any) -> Tensor:
        y = layer(y, w, f"{part}.{name}_conv", f"{part}.{name}_bn", **how)
        return lif(pool(y) if halve else y)

    def mlp(y: Tensor, part: str) -> Tensor:
        h = lif(layer(y, w, f"{part}.mlp1_conv", f"{part}.mlp1_bn"))
        return y + lif(layer(h, w, f"{part}.mlp2_conv", f"{part}.mlp2_bn"))

    first, second = "patch_embed1", "patch_embed2"
    x = embed(embed(x, first, "proj", halve=False, padding=1), first, "proj1", halve=True, padding=1)
    deep = embed(embed(x, first, "proj2", halve=True, padding=1), first, "proj3", halve=True, padding=1)
    x = deep + embed(x, first, "proj_res", halve=False, stride=4)
    size, a = x.shape[3:], "stage1.0.tssa"
    t = x.flatten(3)
    q, k = (lif(layer(t, w, f"{a}.{n}_conv", f"{a}.{n}_bn")).unflatten(2, (n_heads, -1)) for n in "qk")
    o = (lif(q.sum(3, keepdim=True), 0.5) * k).flatten(2, 3)
    x = mlp((t + lif(layer(o, w, f"{a}.proj_conv", f"{a}.proj_bn"))).unflatten(3, size), "stage1.0.mlp")
    deep = embed(embed(x, second, "proj", halve=False, padding=1), second, "proj4", halve=True, padding=1)
    x = deep + embed(x, second, "proj_res", halve=False, stride=2)
    size, a = x.shape[3:], "stage2.0.ssa"
    t = x.flatten(3)
    q, k, v = (heads(lif(layer(t, w, f"{a}.{n}_conv", f"{a}.{n}_bn")), n_heads) for n in "qkv")
    o = lif(unheads(q @ (k.transpose(-1, -2) @ v) * 0.125), 0.5)
    x = mlp((t + lif(layer(o, w, f"{a}.proj_conv", f"{a}.proj_bn"))).unflatten(3, size), "stage2.0.mlp")
    return conv(x.mean((3, 4)), w["head.weight"], w["head.bias"]).mean(0)


def sdt(w: Weights, x: Tensor, n_heads: int, pools: str, *, spread: bool) -> Tensor:
    """Spike-driven Transformer v1; `spread`: the max-pools inside the attention."""
    for i, p in zip(("", "1", "2"), pools, strict=False):
        x = lif(layer(x, w, f"patch_embed.proj_conv{i}", f"patch_embed.proj_bn{i}", padding=1))
        x = pool(x) if p == "1" else x
    z = layer(x, w, "patch_embed.proj_conv3", "patch_embed.proj_bn3", padding=1)
    z = pool(z) if pools[3] == "1" else z
    x = z + layer(lif(z), w, "patch_embed.rpe_conv", "patch_embed.rpe_bn", padding=1)
    for i in range(_n_blocks(w)):
        a, m, size = f"block.{i}.attn", f"block.{i}.mlp", x.shape[3:]
        q, k, v = (lif(layer(lif(x), w, f"{a}.{n}_conv", f"{a}.{n}_bn")) for n in "qkv")
        if spread:
            k, v = pool(k, 1), pool(v, 1)
        q, k, v = (heads(y, n_heads) for y in (q, k, v))
        kv = k * v
        kv = pool(kv, 1) if spread else kv
        o = q * lif(kv.sum(3, keepdim=True), 0.5)
        o = pool(o, 1) if spread else o
        x = x + layer(unheads(o).unflatten(3, size), w, f"{a}.proj_conv", f"{a}.proj_bn")
        h = layer(lif(x), w, f"{m}.fc1_conv", f"{m}.fc1_bn")
        x = x + layer(lif(h), w, f"{m}.fc2_conv", f"{m}.fc2_bn")
    return conv(lif(x.mean((3, 4))), w["head.weight"], w["head.bias"]).mean(0)


def spikingresformer(w: Weights, x: Tensor) -> Tensor:
    """SpikingResformer with neurons that learn their leak, on three channels."""

    def plif(y: Tensor, name: str) -> Tensor:
        return lif(y, leak=w[f"{name}.w"].sigmoid())

    x = layer(x, w, "prologue.0", "prologue.1.bn", padding=1)
    for stage in range(3):
        n = 1 + max(int(name.split(".")[2]) for name in w if name.startswith(f"layers.{stage}."))
        for i in range(n):
            p = f"layers.{stage}.{i}"
            if f"{p}.W.weight" in w:
                x = x + _dual_attention(x, w, p, plif)
            elif f"{p}.up.1.weight" in w:
                u = layer(plif(x, f"{p}.up.0"), w, f"{p}.up.1", f"{p}.up.2.bn")
                weight = w[f"{p}.conv.0.1.weight"]
                groups = len(weight) // weight.shape[1]
                g = plif(u, f"{p}.conv.0.0")
                g = layer(g, w, f"{p}.conv.0.1", f"{p}.conv.0.2.bn", padding=1, groups=groups)
                x = x + layer(plif(g + u, f"{p}.down.0"), w, f"{p}.down.1", f"{p}.down.2.bn")
            else:
                x = layer(plif(x, f"{p}.activation"), w, f"{p}.conv", f"{p}.norm.bn", stride=2, padding=1)
    return conv(x.mean((3, 4)), w["classifier.weight"]).mean(0)


def _dual_attention(x: Tensor, w: Weights, p: str, plif: Any) -> Tensor:
    f_x, f_attn = w[f"{p}.firing_rate_x"], w[f"{p}.firing_rate_attn"]
    n_heads, d = f_x.shape[2], x.shape[2] // f_x.shape[2]
    s = plif(x, f"{p}.activation_in")
    patch = w[f"{p}.W.weight"].shape[2]
    y = layer(s, w, f"{p}.W", f"{p}.norm.bn", stride=patch).flatten(3).unflatten(2, (n_heads, 2 * d))
    y1, y2 = y[:, :, :, :d], y[:, :, :, d:]
    spikes = s.flatten(3).unflatten(2, (n_heads, d))
    m = plif(y1.transpose(-1, -2) @ spikes / torch.sqrt(f_x * d), f"{p}.activation_attn")
    o = plif(y2 @ m / torch.sqrt(f_attn * y.shape[-1]), f"{p}.activation_out")
    return layer(o.flatten(2, 3).unflatten(3, x.shape[3:]), w, f"{p}.Wproj", f"{p}.norm_proj.bn")


def _fired_stem(w: Weights, x: Tensor) -> Tensor:
    """Spikformer's stem by the sheets' names, for small images."""
    for i in range(4):
        x = lif(layer(x, w, f"stem.{i}.conv", f"stem.{i}.bn", padding=1))
        x = pool(x) if i > 1 else x
    return x + lif(layer(x, w, "stem.rpe.conv", "stem.rpe.bn", padding=1))


def semm(w: Weights, x: Tensor) -> Tensor:
    """Spikformer whose attention and MLP are mixtures of experts."""
    x = _fired_stem(w, x)
    size, x = x.shape[3:], x.flatten(3)
    for i in range(_n_blocks(w)):
        a, m = f"block.{i}.attn", f"block.{i}.mlp"
        k, v, r = (lif(layer(x, w, f"{a}.{n}.fc", f"{a}.{n}.bn")) for n in ("k", "v", "router"))
        mixed = torch.zeros_like(v)
        for e in range(r.shape[2]):
            q = lif(layer(x, w, f"{a}.q.{e}.fc", f"{a}.q.{e}.bn"))
            product = (q.transpose(-1, -2) @ k) @ v.transpose(-1, -2)  # (T, B, N, C)
            mixed = mixed + r[:, :, e : e + 1] * lif(0.125 * product).transpose(-1, -2)
        x = x + lif(layer(mixed, w, f"{a}.proj.fc", f"{a}.proj.bn"))
        h = lif(layer(x, w, f"{m}.fc1.fc", f"{m}.fc1.bn"))
        half = h.shape[2] // 2
        around = layer(h[:, :, :half].unflatten(3, size), w, f"{m}.dw.conv", f"{m}.dw.bn", padding=1, groups=half)
        z = lif(around).flatten(3) * h[:, :, half:]
        x = x + lif(layer(z, w, f"{m}.fc2.fc", f"{m}.fc2.bn"))
    return conv(x.mean(3), w["head.weight"], w["head.bias"]).mean(0)


def autost(w: Weights, x: Tensor, n_heads: tuple[int, ...]) -> Tensor:
    """AutoST on small images; each layer has its own heads."""

    def plif(y: Tensor, name: str, threshold: float = 1.0) -> Tensor:
        return lif(y, threshold, w[f"{name}.neuron.w"].sigmoid())

    for i in range(3):
        x = plif(layer(x, w, f"stem.{i}.conv", f"stem.{i}.bn", padding=1), f"stem.{i}")
    y = pool(layer(pool(x), w, "stem.3.conv", "stem.3.bn", padding=1))
    x = (y + layer(y, w, "stem.rpe.conv", "stem.rpe.bn", padding=1)).flatten(3)
    for i, n in enumerate(n_heads):
        a, m = f"block.{i}.attn", f"block.{i}.mlp"
        s = plif(x, f"{a}.in")
        q, k, v = (heads(plif(layer(s, w, f"{a}.{c}.fc", f"{a}.{c}.bn"), f"{a}.{c}"), n) for c in "qkv")
        o = plif(unheads(0.125 * (q @ k.transpose(-1, -2)) @ v), f"{a}.out", 0.5)
        x = x + layer(o, w, f"{a}.proj.fc", f"{a}.proj.bn")
        h = layer(plif(x, f"{m}.fc1"), w, f"{m}.fc1.fc", f"{m}.fc1.bn")
        x = x + layer(plif(h, f"{m}.fc2"), w, f"{m}.fc2.fc", f"{m}.fc2.bn")
    return conv(x.mean(3), w["head.weight"], w["head.bias"]).mean(0)


def autospikformer(w: Weights, x: Tensor, n_heads: int, sample: Mapping[str, Any]) -> Tensor:
    """The subnet `sample` (dim, and lists of mlp_ratio, threshold, tau) of a supernet, by slicing what it needs."""
    width = sample["dim"]
    w = {
        **w,
        "stem.3.conv.weight": w["stem.3.conv.weight"][:width],
        "stem.rpe.conv.weight": w["stem.rpe.conv.weight"][:width, :width],
    }
    for name in ("stem.3.bn", "stem.rpe.bn"):
        w |= {f"{name}.{word}": w[f"{name}.{word}"][:width] for word in ("gamma", "beta", "mean", "var")}
    x = _fired_stem(w, x).flatten(3)

    def sliced(y: Tensor, name: str, n_out: int, leak: float, threshold: float = 1.0) -> Tensor:
        y = conv(y, w[f"{name}.fc.weight"][:n_out, : y.shape[2]], w[f"{name}.fc.bias"][:n_out])
        norm = {f"n.{word}": w[f"{name}.bn.{word}"][:n_out] for word in ("gamma", "beta", "mean", "var")}
        return lif(batch_norm(y, norm, "n"), threshold, leak)

    for i, (ratio, threshold, tau) in enumerate(zip(sample["mlp_ratio"], sample["threshold"], sample["tau"], strict=True)):
        a, m, leak = f"block.{i}.attn", f"block.{i}.mlp", 1 / tau
        q, k, v = (heads(sliced(x, f"{a}.{n}", width, leak), n_heads) for n in "qkv")
        o = lif(unheads(0.125 * (q @ k.transpose(-1, -2)) @ v), 0.5, leak)
        x = x + sliced(o, f"{a}.proj", width, leak)
        h = sliced(x, f"{m}.fc1", int(width * ratio), leak, threshold)
        x = x + sliced(h, f"{m}.fc2", width, leak)
    return conv(x.mean(3), w["head.weight"][:, :width], w["head.bias"]).mean(0)


def bestformer(w: Weights, x: Tensor, *, is_cifar: bool) -> Tensor:
    """BESTformer of either file: where the stem pools, and which map is fired."""

    def binary(y: Tensor, name: str, **how: Any) -> Tensor:
        weight = w[f"{name}.conv.weight"]
        signs = torch.sign(weight - weight.flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1)))
        return batch_norm(conv(y, signs, **how), w, f"{name}.bn")

    x1 = layer(x, w, "stem.0.conv", "stem.0.bn", padding=1)
    for i in range(1, 5):
        s = lif(x1)
        x1 = binary(s if is_cifar and i < 3 else pool(s), f"stem.{i}", padding=1)
    x0: Tensor | None = None
    for i in range(_n_blocks(w)):
        a, m, size = f"block.{i}.attn", f"block.{i}.mlp", x1.shape[3:]
        s, lam = lif(x1).flatten(3), w[f"block.{i}.attn.lam"]
        q, k, v = (heads(lif(binary(s, f"{a}.{n}")), lam.shape[2]) for n in "qkv")
        o = lif(q @ k.transpose(-1, -2), soft=True) @ v if is_cifar else q @ lif(k.transpose(-1, -2) @ v, soft=True)
        o = lif(unheads(0.125 * lam[: len(o)] * o), 0.5).unflatten(3, size)
        x2 = binary(o, f"{a}.proj") + (x1 if x0 is None else (x0 + x1) / 2)
        x0, x1 = x2, binary(lif(binary(lif(x2), f"{m}.fc1")), f"{m}.fc2") + (x1 + x2) / 2
    assert x0 is not None
    a_logits = conv(x0.mean((3, 4)), w["head_a.weight"], w["head_a.bias"])
    b_logits = conv(x1.mean((3, 4)), w["head_b.weight"], w["head_b.bias"])
    return ((a_logits + b_logits) / 2).mean(0)
