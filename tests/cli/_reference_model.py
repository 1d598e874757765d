"""An independent reference of tiny decoders and their training, made of the layers of _reference.py."""
import math

import numpy as np

from _reference import derivative, layer, softmax


def rotate(x, base):
    """x [B, L, heads, dh]"""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * base ** (-2.0 * np.arange(half) / x.shape[-1])
    cos, sin = np.cos(angle)[None, :, None, :], np.sin(angle)[None, :, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def norm(m, x, w):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + m["rms_eps"]) * w


def attention(m, params, x):
    sequences, length, width = x.shape
    heads = m["attention_heads"]

    def split(name):
        return (x @ params[name].T).reshape(sequences, length, heads, width // heads)

    q, k, v = rotate(split("wq"), m["rope_base"]), rotate(split("wk"), m["rope_base"]), split("wv")
    scores = np.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(width // heads)
    scores = np.where(np.tril(np.ones((length, length), bool)), scores, -1e9)
    mixed = np.einsum("bhij,bjhd->bihd", softmax(scores), v).reshape(sequences, length, width)
    return mixed @ params["wo"].T


def below(params, prefix):
    return {name[len(prefix):]: value for name, value in params.items() if name.startswith(prefix)}


def decoder(m, moe, params, tokens):
    """Task loss, total loss, mean auxiliary losses, and what stands in /step0. tokens [B, L+1]"""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    x = params["embed"][inputs]
    dense = {"router": "dense", "experts": 1, "k": 1, "activation": m["dense_activation"], "expert_bias": m["dense_expert_bias"]}
    step0, sums, gap, loads = {}, {}, {"gap": 1.0, "kink": 1.0}, []
    for i in range(m["layers"]):
        at = f"blocks/{i}/"
        x = x + attention(m, below(params, at + "attn/"), norm(m, x, params[at + "norm1"]))
        flat = norm(m, x, params[at + "norm2"]).reshape(-1, x.shape[-1])
        sparse = i in m["moe_layers"]
        y, losses, routing, margins = layer(moe if sparse else dense, below(params, at + "ffn/"), flat)
        x = x + y.reshape(x.shape)
        gap = {name: min(gap[name], margins[name]) for name in ("gap", "kink")}
        step0[f"block_{i}"] = x.real.copy()
        if sparse:
            for name in ("offset", "expert", "weight", "dropped"):
                step0[f"routing_{i}/{name}"] = routing[name]
            loads.append(np.bincount(routing["expert"], minlength=moe["experts"]))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value / len(m["moe_layers"])
    logits = norm(m, x, params["norm_final"]) @ params["head"].T
    step0["logits"] = logits.real.copy()
    p = softmax(logits)
    picked = np.take_along_axis(p, targets[..., None], axis=-1)
    task = -np.log(picked).sum() / targets.size
    total = task + sum(moe["coef_" + name] * value for name, value in sums.items())
    return task, total, sums, step0, loads, gap


def train(m, moe, params, tokens):
    """Everything a model file stores beside its inputs; `params` hold the final values afterwards."""
    decay = {name: array.ndim == 2 and name != "embed" for name, array in params.items()}
    first = {name: np.zeros(array.shape) for name, array in params.items()}
    second = {name: np.zeros(array.shape) for name, array in params.items()}
    found = {"trace/task_loss": [], "trace/total_loss": [], "trace/grad_norm": [], "trace/expert_tokens": []}
    gap = {"gap": 1.0, "kink": 1.0}
    for step in range(len(tokens)):
        task, total, sums, step0, loads, margins = decoder(m, moe, params, tokens[step])
        gap = {name: min(gap[name], margins[name]) for name in gap}
        gradients = derivative(lambda: decoder(m, moe, params, tokens[step])[1], params)
        size = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        found["trace/task_loss"].append(task.real)
        found["trace/total_loss"].append(total.real)
        found["trace/grad_norm"].append(size)
        found["trace/expert_tokens"].append(loads)
        for name, value in sums.items():
            found.setdefault("trace/aux/" + name, []).append(value.real)
        if step == 0:
            found.update({"step0/" + name: value for name, value in step0.items()})
            found.update({"grads/" + name: value for name, value in gradients.items()})
        scale = m["grad_clip"] / size if size > m["grad_clip"] else 1.0
        s = step + 1
        for name, array in params.items():
            g = gradients[name] * scale
            first[name] = m["beta1"] * first[name] + (1 - m["beta1"]) * g
            second[name] = m["beta2"] * second[name] + (1 - m["beta2"]) * g**2
            if decay[name]:
                array *= 1 - m["lr"] * m["weight_decay"]
            array -= m["lr"] * (first[name] / (1 - m["beta1"] ** s)) / (np.sqrt(second[name] / (1 - m["beta2"] ** s)) + m["adam_eps"])
    found.update({"final/" + name: array.real.copy() for name, array in params.items()})
    if not m["moe_layers"]:
        del found["trace/expert_tokens"]
    return found, decay, gap
