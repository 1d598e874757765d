"""An independent reference of expert layers, in double precision, for tests of `pleiad verify`. Decoders: _reference_model.py.

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
    choices = options["k"] if options["router"] in ("topk", "noisy_topk", "sigmoid_bias") else 1
    fair = choices * options["capacity_factor"] * tokens / options["experts"]
    return max(options["min_capacity"], math.ceil(fair - 1e-9))


def place(options, order, taken, p, margins):
    """kept[t][rank] by the capacity, of what is taken[t][rank]."""
    tokens, ranks = order.shape
    kept = taken.copy()
    limit = capacity_of(options, tokens)
    if not limit:
        return kept
    room = [limit] * options["experts"]
    for rank in range(ranks):
        for e in range(options["experts"]):
            wanting = [t for t in range(tokens) if taken[t, rank] and order[t, rank] == e]
            if options["capacity_order"] == "probability":
                wanting.sort(key=lambda t: -p[t, e].real)
                if 0 < room[e] < len(wanting):
                    margins["gap"] = min(margins["gap"], p[wanting[room[e] - 1], e].real - p[wanting[room[e]], e].real)
            for t in wanting[room[e]:]:
                kept[t, rank] = False
            room[e] = max(0, room[e] - len(wanting))
    return kept


def importance_of(options, attention, mask):
    """a_t, and the wish for experts before rounding up. Maps [B, H, L, L]."""
    a = attention.max(axis=-1).mean(axis=1)
    if options["damoe_mode"] == "budget":
        mean = np.array([row[real].mean() for row, real in zip(a, mask)])
        return a.reshape(-1), (options["kbar"] * a / mean[:, None] - 0.5).reshape(-1)  # floor(w + 1/2) is ceil(w - 1/2) off ties
    if options["damoe_mode"] == "causal":
        a[:, 1:] = 1 + np.log(a[:, 1:]) / np.log(np.arange(2, a.shape[1] + 1))
        a[:, 0] = 0
    return a.reshape(-1), (a * options["experts"]).reshape(-1)


def choose(options, score, p, attention, mask, margins):
    """All experts of each token in the order of choice, which ranks of that are taken, and the importance where there is one."""
    tokens, experts = score.shape
    router, importance = options["router"], None
    real = mask.reshape(-1)
    order = np.argsort(-score, axis=1, kind="stable")
    count = np.full(tokens, options["k"])

    def near(gap):
        margins["gap"] = min(margins["gap"], gap)

    if router in ("topp", "threshold"):
        mass = options["p"] if router == "topp" else options["threshold"]
        sums = np.cumsum(np.take_along_axis(score, order, axis=1), axis=1)[:, :-1]
        count = 1 + (sums < mass).sum(axis=1) if mass < 1 else np.full(tokens, experts)
        if experts > 1 and mass < 1:
            near(np.abs(sums - mass).min())
    elif router == "damoe":
        importance, wish = importance_of(options, attention, mask)
        count = np.clip(np.ceil(wish), 1, options["k_max"]).astype(int)
        inside = real & (wish > 0) & (wish < options["k_max"])
        if inside.any():
            near(np.abs(wish[inside] - np.round(wish[inside])).min())
    elif router == "expert_choice":
        quota = options["c"] * tokens // experts
        chosen = np.zeros((tokens, experts), bool)
        for e in range(experts):
            best = np.argsort(-p[:, e].real, kind="stable")
            chosen[best[:quota], e] = True
            if 0 < quota < tokens:
                near(p[best[quota - 1], e].real - p[best[quota], e].real)
        order = np.argsort(-(score + 2 * chosen), axis=1, kind="stable")
        score = score + 2 * chosen
        count = chosen.sum(axis=1)
    count = np.where(real, count, 0)
    steps = -np.diff(np.take_along_axis(score, order, axis=1), axis=1)
    decided = np.arange(experts - 1) < count[:, None]
    if decided.any():
        near(steps[decided].min())
    return order, np.arange(experts) < count[:, None], importance


def hypernetwork(options, params, x, chosen, margins):
    """What the generated expert of each token gives; chosen[t][e]."""
    def get(name):
        return params["hyper/" + name]

    def relu(a):
        margins["kink"] = min(margins["kink"], np.abs(a.real).min())
        return np.where(a.real > 0, a, 0)

    s = (~chosen).astype(float) @ get("expert_embedding")
    q = relu(s @ get("sel_w1").T + get("sel_b1")) @ get("sel_w2").T + get("sel_b2")
    layer_row = np.broadcast_to(get("layer_embedding")[options["layer_index"]], (len(x), get("layer_embedding").shape[1]))
    v = relu(np.concatenate([q, layer_row], axis=1) @ get("trunk_w").T + get("trunk_b"))
    bottleneck = len(get("down_bias_b"))
    down = (v @ get("down_w").T + get("down_b")).reshape(len(x), x.shape[1], bottleneck)
    up = (v @ get("up_w").T + get("up_b")).reshape(len(x), bottleneck, x.shape[1])
    hidden = relu(np.einsum("td,tdb->tb", x, down) + v @ get("down_bias_w").T + get("down_bias_b"))
    return np.einsum("tb,tbd->td", hidden, up) + v @ get("up_bias_w").T + get("up_bias_b")


def squared_variation(v):
    mean = v.sum() / len(v)
    return ((v - mean) ** 2).sum() / len(v) / mean**2


def layer(options, params, x, noise=None, attention=None, mask=None):
    """Output, losses (without coefficients), routing lists, and how near decisions were to a tie."""
    tokens, experts = len(x), options["experts"]
    margins = {"gap": 1.0, "kink": 1.0}
    if options["router"] == "dense":
        y = expert(options, params, 0, x, margins)
        routing = {"offset": np.arange(tokens + 1), "expert": np.zeros(tokens, int), "weight": np.ones(tokens), "dropped": 0}
        return y, {}, routing, margins
    sequences = len(attention) if attention is not None else 1
    mask = np.ones((sequences, tokens // sequences), bool) if mask is None else mask.astype(bool)
    real = mask.reshape(-1)
    z = x @ params["router/w"].T
    p = softmax(z)
    score, basis = p, p
    if options["router"] == "noisy_topk":
        spread = softplus(x @ params["router/w_noise"].T)
        score = basis = z + noise * spread
    elif options["router"] == "sigmoid_bias":
        basis = 1 / (1 + np.exp(-z))
        score = basis + params["router/bias"]
    order, taken, importance = choose(options, score.real, p, attention, mask, margins)
    g = np.take_along_axis(basis, order, axis=1)
    if options["router"] == "noisy_topk":
        g = np.exp(g - g.real.max(axis=1, keepdims=True))
    single = taken.sum(axis=1) == 1
    shared = {"topp": True, "noisy_topk": True, "sigmoid_bias": True, "expert_choice": False, "damoe": True}.get(options["router"], bool(options["renormalize"]))
    raw = single if options["router"] == "damoe" and options["raw_if_single"] else np.full(tokens, not shared)
    mass = np.where(raw | ~taken.any(axis=1), 1, (g * taken).sum(axis=1))
    g = g / mass[:, None] * (options["gate_scale"] if options["router"] == "sigmoid_bias" else 1)
    kept = place(options, order, taken, p, margins)
    y = np.zeros(x.shape, complex)
    for e in range(experts):
        t, rank = np.nonzero(kept & (order == e))
        if len(t):
            y[t] += g[t, rank][:, None] * expert(options, params, e, x[t], margins)
    if options["hyper"]:
        of_expert = np.zeros((tokens, experts), bool)
        t, rank = np.nonzero(taken)
        of_expert[t, order[t, rank]] = True
        y[real] += hypernetwork(options, params, x, of_expert, margins)[real]

    counted = real.sum()
    chosen = np.array([(taken & (order == e)).sum() for e in range(experts)])
    first = np.array([(taken[:, 0] & (order[:, 0] == e)).sum() for e in range(experts)])
    share = {"first": first / counted, "tokens": chosen / counted, "assignments": chosen / chosen.sum(), "none": None}[options["balance_mode"]]
    mean_p = p[real].sum(axis=0) / counted
    widths = np.array(options["expert_widths"], float)
    wanted = [name for name in LOSSES if options["coef_" + name] != 0]
    losses = {}
    for name in wanted:
        if name == "balance":
            losses[name] = experts * (share * mean_p).sum()
        elif name == "penalty":
            losses[name] = experts * (chosen / counted * widths / widths.mean() * mean_p).sum()
        elif name == "entropy":
            losses[name] = -(p * np.log(p))[real].sum() / counted
        elif name == "z":
            losses[name] = (np.log(np.exp(z).sum(axis=1)) ** 2)[real].sum() / counted
        elif name == "importance":
            summed = np.zeros(experts, complex)
            for t, rank in zip(*np.nonzero(taken)):
                summed[order[t, rank]] += g[t, rank]
            losses[name] = squared_variation(summed)
        elif name == "load":
            load = np.zeros(experts, complex)
            for t in np.flatnonzero(real):
                for e in range(experts):
                    others = [j for j in order[t] if j != e]
                    a = (z[t, e] - score[t, others[options["k"] - 1]]) / spread[t, e]
                    load[e] += (1 + erf(a / math.sqrt(2))) / 2
            losses[name] = squared_variation(load)
    routing = {"offset": np.concatenate([[0], np.cumsum(kept.sum(axis=1))]), "expert": order[kept], "weight": g.real[kept],
               "dropped": int((taken & ~kept).sum()), "logits": z.real}
    if importance is not None:
        routing["importance"] = importance
    if options["router"] == "sigmoid_bias":
        margins["bias_after"] = params["router/bias"].real + options["bias_rate"] * np.sign(chosen.mean() - chosen)
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
    if options["router"] == "sigmoid_bias":
        shapes["router/bias"] = (options["experts"],)
    if options.get("hyper"):
        embedding, hidden, query, of_layer, trunk, bottleneck = 3, 5, 4, 2, 6, 3
        shapes.update({"hyper/" + name: shape for name, shape in {
            "expert_embedding": (options["experts"], embedding), "sel_w1": (hidden, embedding), "sel_b1": (hidden,), "sel_w2": (query, hidden),
            "sel_b2": (query,), "layer_embedding": (3, of_layer), "trunk_w": (trunk, query + of_layer), "trunk_b": (trunk,),
            "down_w": (width * bottleneck, trunk), "down_b": (width * bottleneck,), "down_bias_w": (bottleneck, trunk), "down_bias_b": (bottleneck,),
            "up_w": (bottleneck * width, trunk), "up_b": (bottleneck * width,), "up_bias_w": (width, trunk), "up_bias_b": (width,)}.items()})
    for e, hidden in enumerate(options["expert_widths"]):
        if options["activation"] == "swiglu":
            kinds = {"w_gate": (hidden, width), "w_up": (hidden, width), "w_down": (width, hidden)}
        else:
            kinds = {"w_in": (hidden, width), "w_out": (width, hidden)}
            if options["expert_bias"]:
                kinds.update({"b_in": (hidden,), "b_out": (width,)})
        shapes.update({f"experts/{e}/{name}": shape for name, shape in kinds.items()})
    return shapes
