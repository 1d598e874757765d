"""An independent reference of expert layers and tiny decoders, in double precision, for tests of `pleiad verify`.

Everything is written for complex numbers, so that derivatives come from the complex step: f(x + ih) has the imaginary part h f'(x),
exact to rounding for h = 1e-30. Decisions (who is selected, who is dropped) look at the real part only, as constants.
"""
import math

import numpy as np

H = 1e-30
LOSSES = ("balance", "z", "entropy", "penalty", "importance", "load")


def erf(a):
    """Of a complex number with a tiny imaginary part."""
    real = np.vectorize(math.erf, otypes=[float])(a.real)
    return real + 1j * a.imag * 2 / math.sqrt(math.pi) * np.exp(-a.real**2)


def activate(kind, a):
    if kind == "relu":
        return np.where(a.real > 0, a, 0)
    return a / 2 * (1 + erf(a / math.sqrt(2)))


def softplus(a):
    return np.log(1 + np.exp(a))


def softmax(z):
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def expert(options, params, e, x, margins):
    def get(name):
        return params[f"experts/{e}/{name}"]

    if options["activation"] == "swiglu":
        gate = x @ get("w_gate").T
        return (gate / (1 + np.exp(-gate)) * (x @ get("w_up").T)) @ get("w_down").T
    a = x @ get("w_in").T
    if options["expert_bias"]:
        a = a + get("b_in")
    if options["activation"] == "relu" and a.size:
        margins["kink"] = min(margins["kink"], np.abs(a.real).min())
    y = activate(options["activation"], a) @ get("w_out").T
    return y + get("b_out") if options["expert_bias"] else y


def capacity_of(options, tokens):
    if options["capacity_factor"] <= 0:
        return 0
    fair = options["k"] * options["capacity_factor"] * tokens / options["experts"]
    return max(options["min_capacity"], math.ceil(fair - 1e-9))


def place(options, order, p, margins):
    """kept[t][rank] by the capacity."""
    tokens, k = order.shape
    kept = np.ones((tokens, k), bool)
    limit = capacity_of(options, tokens)
    if not limit:
        return kept
    room = [limit] * options["experts"]
    for rank in range(k):
        for e in range(options["experts"]):
            wanting = [t for t in range(tokens) if order[t, rank] == e]
            if options["capacity_order"] == "probability":
                wanting.sort(key=lambda t: -p[t, e].real)
                if 0 < room[e] < len(wanting):
                    margins["gap"] = min(margins["gap"], p[wanting[room[e] - 1], e].real - p[wanting[room[e]], e].real)
            for t in wanting[room[e]:]:
                kept[t, rank] = False
            room[e] = max(0, room[e] - len(wanting))
    return kept


def squared_variation(v):
    mean = v.sum() / len(v)
    return ((v - mean) ** 2).sum() / len(v) / mean**2


def layer(options, params, x, noise=None):
    """Output, losses (without coefficients), routing lists, and how near decisions were to a tie."""
    tokens, experts, k = len(x), options["experts"], options["k"]
    margins = {"gap": 1.0, "kink": 1.0}
    if options["router"] == "dense":
        y = expert(options, params, 0, x, margins)
        routing = {"offset": np.arange(tokens + 1), "expert": np.zeros(tokens, int), "weight": np.ones(tokens), "dropped": 0}
        return y, {}, routing, margins
    z = x @ params["router/w"].T
    p = softmax(z)
    score = z
    if options["router"] == "noisy_topk":
        spread = softplus(x @ params["router/w_noise"].T)
        score = z + noise * spread
    ranked = np.argsort(-score.real, axis=1, kind="stable")
    best = -np.sort(-score.real, axis=1)[:, : k + 1]
    if best.shape[1] > 1:
        margins["gap"] = min(margins["gap"], (best[:, :-1] - best[:, 1:]).min())
    order = ranked[:, :k]
    rows = np.arange(tokens)[:, None]
    if options["router"] == "noisy_topk":
        g = softmax(score[rows, order])
    else:
        g = p[rows, order]
        if options["renormalize"]:
            g = g / g.sum(axis=1, keepdims=True)
    kept = place(options, order, p, margins)
    y = np.zeros(x.shape, complex)
    for e in range(experts):
        t, rank = np.nonzero(kept & (order == e))
        if len(t):
            y[t] += g[t, rank][:, None] * expert(options, params, e, x[t], margins)

    chosen = np.array([(order == e).sum() for e in range(experts)])
    first = np.array([(order[:, 0] == e).sum() for e in range(experts)])
    share = {"first": first / tokens, "tokens": chosen / tokens, "assignments": chosen / chosen.sum(), "none": None}[options["balance_mode"]]
    mean_p = p.sum(axis=0) / tokens
    widths = np.array(options["expert_widths"], float)
    wanted = [name for name in LOSSES if options["coef_" + name] != 0]
    losses = {}
    for name in wanted:
        if name == "balance":
            losses[name] = experts * (share * mean_p).sum()
        elif name == "penalty":
            losses[name] = experts * (chosen / tokens * widths / widths.mean() * mean_p).sum()
        elif name == "entropy":
            losses[name] = -(p * np.log(p)).sum() / tokens
        elif name == "z":
            losses[name] = (np.log(np.exp(z).sum(axis=1)) ** 2).sum() / tokens
        elif name == "importance":
            summed = np.zeros(experts, complex)
            for rank in range(k):
                for t in range(tokens):
                    summed[order[t, rank]] += g[t, rank]
            losses[name] = squared_variation(summed)
        elif name == "load":
            load = np.zeros(experts, complex)
            for t in range(tokens):
                for e in range(experts):
                    others = [j for j in ranked[t] if j != e]
                    a = (z[t, e] - score[t, others[k - 1]]) / spread[t, e]
                    load[e] += (1 + erf(a / math.sqrt(2))) / 2
            losses[name] = squared_variation(load)
    flat = kept.reshape(-1)
    routing = {"offset": np.concatenate([[0], np.cumsum(kept.sum(axis=1))]), "expert": order.reshape(-1)[flat],
               "weight": g.real.reshape(-1)[flat], "dropped": int((~kept).sum()), "logits": z.real}
    return y, losses, routing, margins


def derivative(function, values):
    """Gradient of the real function by every entry of the arrays in `values` (changed and restored)."""
    gradients = {}
    for name, array in values.items():
        gradient = np.zeros(array.shape)
        flat, out = array.reshape(-1), gradient.reshape(-1)
        for i in range(flat.size):
            before = flat[i]
            flat[i] = before + 1j * H
            out[i] = function().imag / H
            flat[i] = before
        gradients[name] = gradient
    return gradients


def parameter_shapes(options, width):
    shapes = {}
    if options["router"] != "dense":
        shapes["router/w"] = (options["experts"], width)
    if options["router"] == "noisy_topk":
        shapes["router/w_noise"] = (options["experts"], width)
    for e, hidden in enumerate(options["expert_widths"]):
        if options["activation"] == "swiglu":
            kinds = {"w_gate": (hidden, width), "w_up": (hidden, width), "w_down": (width, hidden)}
        else:
            kinds = {"w_in": (hidden, width), "w_out": (width, hidden)}
            if options["expert_bias"]:
                kinds.update({"b_in": (hidden,), "b_out": (width,)})
        shapes.update({f"experts/{e}/{name}": shape for name, shape in kinds.items()})
    return shapes


# ---- a decoder of such layers ----

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
        gap = {name: min(gap[name], margins[name]) for name in gap}
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
