#!/usr/bin/env python3
"""pleiad verify on generated layer and model files of unusual shapes and options, against an independent reference; and what it refuses."""
# PROCESSORS 4
# TIMEOUT 240
import os
import shutil
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _reference as reference  # noqa: E402
from _program import PLEIAD_F64, SOURCE, TMP, Checks, pleiad  # noqa: E402

DEFAULTS = {
    "router": "topk", "experts": 1, "k": 1, "renormalize": 0, "activation": "gelu", "expert_bias": 0, "expert_widths": [4],
    "capacity_factor": 0.0, "min_capacity": 0, "capacity_order": "none", "balance_mode": "none", "hyper": 0, "padded": 0,
    "p": 0.0, "threshold": 0.0, "c": 0, "raw_if_single": 0, "gate_scale": 1.0, "layer_index": 0, "damoe_mode": "none", "k_max": 0,
    "kbar": 0.0, "attention_heads": 0, "heads": 0, "query_dim": 0, "sub_keys": 0, "shared_keys": 0, "batch_norm": "none", "bias_rate": 0.0,
    **{"coef_" + name: 0.0 for name in reference.LOSSES},
}

# name: (sequences, seq_len, d_model, options)
LAYERS = {
    "one_token_one_expert": (1, 1, 3, {"expert_widths": [1], "activation": "relu", "expert_bias": 1, "balance_mode": "first", "coef_balance": 0.5}),
    "every_expert": (5, 3, 5, {"experts": 4, "k": 4, "renormalize": 1, "expert_widths": [1, 7, 3, 2], "expert_bias": 1, "balance_mode": "tokens",
                               "coef_balance": -0.7, "coef_z": 0.4, "coef_importance": 1.5}),
    "raw_top1_tight": (3, 7, 9, {"experts": 6, "activation": "swiglu", "expert_widths": [3, 1, 5, 2, 4, 3], "capacity_factor": 0.3,
                                 "capacity_order": "position", "balance_mode": "first", "coef_balance": 2.0, "coef_z": -0.1, "coef_entropy": 0.3}),
    "raw_top3_by_probability": (4, 5, 6, {"experts": 7, "k": 3, "activation": "relu", "expert_widths": [2, 4, 6, 1, 3, 5, 2], "capacity_factor": 0.1,
                                          "min_capacity": 2, "capacity_order": "probability", "balance_mode": "assignments", "coef_balance": 1.0,
                                          "coef_penalty": 0.5, "coef_entropy": -0.4, "coef_importance": 0.8}),
    "dropless_penalty": (2, 9, 5, {"experts": 3, "k": 2, "renormalize": 1, "expert_widths": [1, 2, 12], "activation": "swiglu", "coef_penalty": -1.0,
                                   "coef_entropy": 0.6}),
    "more_experts_than_tokens": (2, 2, 7, {"experts": 11, "k": 2, "renormalize": 1, "expert_widths": [2] * 11, "expert_bias": 1,
                                           "balance_mode": "assignments", "coef_balance": 3.0, "coef_importance": -0.5}),
    "one_place_per_expert": (7, 5, 11, {"experts": 3, "k": 2, "renormalize": 1, "expert_widths": [4, 1, 2], "activation": "relu", "expert_bias": 1,
                                        "capacity_factor": 0.01, "capacity_order": "probability", "coef_z": 1.0}),
    "whole_number_capacity": (1, 12, 4, {"experts": 4, "k": 1, "renormalize": 1, "expert_widths": [3, 3, 3, 3], "capacity_factor": 1.0,
                                         "capacity_order": "position", "balance_mode": "tokens", "coef_balance": 1.0}),
    "noisy": (3, 6, 8, {"router": "noisy_topk", "experts": 5, "k": 2, "expert_widths": [3, 2, 1, 4, 3], "activation": "relu", "expert_bias": 1,
                        "coef_importance": 2.0, "coef_load": -1.0, "coef_z": 0.2}),
    "noisy_one": (2, 5, 7, {"router": "noisy_topk", "experts": 6, "k": 1, "expert_widths": [2] * 6, "coef_load": 1.0, "balance_mode": "first",
                            "coef_balance": 0.7}),
    "noisy_every_expert": (1, 8, 3, {"router": "noisy_topk", "experts": 3, "k": 3, "expert_widths": [1, 2, 3], "activation": "swiglu",
                                     "coef_entropy": 0.5, "coef_importance": 1.0}),
    "noisy_capacity": (9, 3, 4, {"router": "noisy_topk", "experts": 6, "k": 3, "expert_widths": [1, 3, 2, 1, 2, 3], "expert_bias": 1,
                                 "capacity_factor": 0.5, "min_capacity": 1, "capacity_order": "probability", "balance_mode": "assignments",
                                 **{"coef_" + name: 0.4 for name in reference.LOSSES}, "coef_penalty": -0.3}),
    "dense_one_channel": (1, 13, 1, {"router": "dense", "activation": "relu", "expert_bias": 1, "expert_widths": [5]}),
    "dense_narrow": (3, 4, 7, {"router": "dense", "activation": "swiglu", "expert_widths": [1]}),
}

# name: (attributes of the model, options of its expert layers)
MODELS = {
    "model_uneven": ({"layers": 3, "d_model": 6, "attention_heads": 1, "seq_len": 5, "sequences": 3, "vocab": 7, "moe_layers": [1], "steps": 3,
                      "dense_activation": "swiglu", "dense_hidden": 3, "dense_expert_bias": 0, "grad_clip": 0.5},
                     {"experts": 3, "k": 2, "renormalize": 1, "expert_widths": [1, 3, 2], "activation": "relu", "expert_bias": 1, "capacity_factor": 0.8,
                      "capacity_order": "position", "balance_mode": "tokens", "coef_balance": 0.1, "coef_importance": 0.05}),
    "model_one_sequence": ({"layers": 2, "d_model": 4, "attention_heads": 2, "seq_len": 6, "sequences": 1, "vocab": 5, "moe_layers": [0, 1], "steps": 4,
                            "dense_activation": "none", "dense_hidden": 0, "dense_expert_bias": 0, "grad_clip": 100.0},
                           {"experts": 4, "k": 1, "expert_widths": [2, 1, 3, 2], "activation": "swiglu", "balance_mode": "first",
                            "coef_balance": 0.2, "coef_z": -0.01, "coef_entropy": 0.02}),
    "model_dense_bias": ({"layers": 1, "d_model": 6, "attention_heads": 3, "seq_len": 4, "sequences": 5, "vocab": 9, "moe_layers": [], "steps": 3,
                          "dense_activation": "relu", "dense_hidden": 5, "dense_expert_bias": 1, "grad_clip": 1.0}, {}),
}


def single(array):
    """Rounded to float32, as a complex array that can take a step."""
    return np.asarray(array, np.float32).astype(complex)


def put(file, name, value):
    if isinstance(value, str):
        file.attrs[name] = np.bytes_(value)
    elif isinstance(value, list):
        file.attrs[name] = np.bytes_(",".join(str(v) for v in value) if value else "none")
    elif isinstance(value, float):
        file.attrs[name] = np.float64(value)
    else:
        file.attrs[name] = np.int64(value)


def put_options(file, options, tokens, prefix=""):
    for name, value in options.items():
        put(file, prefix + name, value)
    put(file, prefix + "aux_losses", [name for name in reference.LOSSES if options["coef_" + name] != 0])
    if not prefix:
        put(file, "capacity", reference.capacity_of(options, tokens))


def draw(rng, shapes, router_scale):
    params = {}
    for name, shape in shapes.items():
        scale = router_scale if "router/w" in name else 1.0
        scale = 0.3 if name.endswith("w_noise") else scale
        params[name] = single(1 + 0.2 * rng.normal(size=shape)) if "norm" in name else single(scale * rng.normal(size=shape) / np.sqrt(shape[-1]))
    return params


def make_layer(path, name, seed):
    sequences, length, width, given = LAYERS[name]
    options = {**DEFAULTS, **given}
    rng = np.random.default_rng(seed)
    tokens = sequences * length
    for attempt in range(2000):
        x, d_y = single(rng.normal(size=(tokens, width))), single(rng.normal(size=(tokens, width)))
        noise = single(rng.normal(size=(tokens, options["experts"]))) if options["router"] == "noisy_topk" else None
        params = draw(rng, reference.parameter_shapes(options, width), 2.0)
        y, losses, routing, margins = reference.layer(options, params, x, noise)
        if margins["gap"] > 1e-3 and margins["kink"] > 1e-4:
            break
    else:
        sys.exit(f"FAILED  {name}: no draw without a near tie")

    def objective():
        y, losses, _, _ = reference.layer(options, params, x, noise)
        return (y * d_y.real).sum() + sum(options["coef_" + loss] * value for loss, value in losses.items())

    gradients = reference.derivative(objective, params)
    d_x = reference.derivative(objective, {"x": x})["x"]
    with h5py.File(path, "w") as file:
        put(file, "format", "moe-golden-layer/1")
        put(file, "case", name)
        put(file, "d_model", width)
        put(file, "seq_len", length)
        put(file, "sequences", sequences)
        put(file, "tokens", tokens)
        put_options(file, options, tokens)
        file["input/x"], file["input/d_y"] = x.real.astype("f4"), d_y.real.astype("f4")
        if noise is not None:
            file["input/noise"] = noise.real.astype("f4")
        for parameter, value in params.items():
            file["params/" + parameter] = value.real.astype("f4")
            file["params/" + parameter].attrs["trainable"] = 1
            file["grads/" + parameter] = gradients[parameter]
        file["output/y"], file["output/d_x"] = y.real, d_x
        for loss, value in losses.items():
            file["losses/" + loss] = value.real
        file["losses/objective"] = objective().real
        for list_name, value in routing.items():
            file["routing/" + list_name] = value
    return attempt, routing, options, tokens


def make_model(path, name, seed):
    attributes, given = MODELS[name]
    m = {"rms_eps": 1e-5, "rope_base": 10000.0, "lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "adam_eps": 1e-8, "weight_decay": 0.1, **attributes}
    moe = {**DEFAULTS, **given}
    if not m["moe_layers"]:
        moe.update(router="dense", experts=0, k=0, expert_widths=[], activation="none")
    rng = np.random.default_rng(seed)
    d, shapes = m["d_model"], {}
    shapes["embed"] = (m["vocab"], d)
    dense = {"router": "dense", "activation": m["dense_activation"], "expert_bias": m["dense_expert_bias"], "expert_widths": [m["dense_hidden"]]}
    for i in range(m["layers"]):
        at = f"blocks/{i}/"
        shapes[at + "norm1"] = shapes[at + "norm2"] = (d,)
        shapes.update({f"{at}attn/{w}": (d, d) for w in ("wq", "wk", "wv", "wo")})
        shapes.update({at + "ffn/" + n: s for n, s in reference.parameter_shapes(moe if i in m["moe_layers"] else dense, d).items()})
    shapes["norm_final"], shapes["head"] = (d,), (m["vocab"], d)
    for _ in range(50):
        initial = draw(rng, shapes, 2.0)
        tokens = rng.integers(0, m["vocab"], size=(m["steps"], m["sequences"], m["seq_len"] + 1)).astype(np.int32)
        # A cheap look at the first step before all of them are computed.
        if min(reference.decoder(m, moe, initial, tokens[0])[5].values()) < 1e-3:
            continue
        results, decay, gap = reference.train(m, moe, {n: v.copy() for n, v in initial.items()}, tokens)
        if min(gap.values()) > 1e-3:
            break
    else:
        sys.exit(f"FAILED  {name}: no draw without a near tie")
    with h5py.File(path, "w") as file:
        put(file, "format", "moe-golden-model/1")
        put(file, "kind", "lm")
        put(file, "case", name)
        put(file, "classes", 0)
        put(file, "pad_id", 0)
        for attribute, value in m.items():
            put(file, attribute, value)
        put_options(file, moe, 0, "moe_")
        file["data/tokens"] = tokens
        for parameter, value in initial.items():
            file["params/" + parameter] = value.real.astype("f4")
            file["params/" + parameter].attrs["trainable"] = 1
            file["params/" + parameter].attrs["decay"] = int(decay[parameter])
        for quantity, value in results.items():
            file[quantity] = np.asarray(value)


def passes(files, ranks, **options):
    result = pleiad(["verify", *files], ranks, **options)
    lines = [line for line in result.out.splitlines() if not line.endswith("  ok")]
    if result.code == 0 and f"{len(files)} of {len(files)} files within tolerance" in result.out:
        return []
    return [f"exit code {result.code}"] + lines + [result.err]


def changed(source, name, action):
    """A copy with something changed in it."""
    path = os.path.join(TMP, name + ".h5")
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        action(file)
    return path


def attribute(name, value):
    return lambda file: put(file, name, value)


def replace(name, function):
    def action(file):
        values, attributes = file[name][()], dict(file[name].attrs)
        del file[name]
        file[name] = function(values)
        for key, value in attributes.items():
            file[name].attrs[key] = value
    return action


def every(*actions):
    def action(file):
        for one in actions:
            one(file)
    return action


def entry(name, at, value):
    def action(file):
        file[name][at] = value
    return action


def without(*names):
    def action(file):
        for name in names:
            if name in file:
                del file[name]
            else:
                del file.attrs[name]
    return action


def refused(checks):
    golden = os.path.join(SOURCE, "tests", "golden")
    topk, noisy, model = (os.path.join(golden, name + ".h5") for name in ("switch_top1_capacity", "noisy_topk", "model_switch"))
    results = ("output", "grads", "losses", "routing")
    for what, source, action, says in (
            ("router peer", topk, attribute("router", "peer"), ("router = peer", "topk", "noisy_topk")),
            ("unknown router", topk, attribute("router", "magic"), ("router = magic", "topk")),
            ("hypernetwork", topk, attribute("hyper", 1), ("hyper",)),
            ("padding", topk, attribute("padded", 1), ("padded",)),
            ("unknown format", topk, attribute("format", "moe-golden-layer/2"), ("moe-golden-layer/2", "moe-golden-layer/1")),
            ("no format", topk, without("format"), ("format",)),
            ("format that is a number", topk, attribute("format", 7), ("format",)),
            ("missing attribute", topk, without("d_model"), ("d_model",)),
            ("attribute of another type", topk, attribute("d_model", "wide"), ("d_model",)),
            ("d_model 0", topk, attribute("d_model", 0), ("d_model", "from 1")),
            ("d_model negative", topk, attribute("d_model", -16), ("d_model", "from 1")),
            ("d_model other than the data's", topk, attribute("d_model", 8), ("8",)),
            ("other number of sequences", topk, attribute("sequences", 5), ("/input/x",)),
            ("missing input", topk, without("input/x"), ("input/x",)),
            ("missing upstream gradient", topk, without("input/d_y"), ("input/d_y",)),
            ("missing noise", noisy, without("input/noise"), ("input/noise",)),
            ("missing parameter", topk, without("params/router/w"), ("params/router/w", "missing")),
            ("missing expert", topk, without("params/experts/3/w_in"), ("params/experts/3/w_in",)),
            ("parameter nobody uses", topk, lambda f: f.create_dataset("params/router/w_noise", data=f["params/router/w"][()]), ("router/w_noise",)),
            ("input of another shape", topk, replace("input/x", lambda v: v[:, :-1]), ("input/x",)),
            ("parameter of another shape", topk, replace("params/router/w", lambda v: v.T.copy()), ("router/w",)),
            ("input that is text", topk, replace("input/x", lambda v: np.bytes_("text")), ("input/x",)),
            ("number of widths", topk, attribute("expert_widths", "16,16"), ("expert_widths", "2")),
            ("width 0", topk, attribute("expert_widths", "16,16,0,16,16,16"), ("expert_widths", "0")),
            ("widths that are no numbers", topk, attribute("expert_widths", "a,b"), ("expert_widths", "a,b")),
            ("k above the number of experts", topk, attribute("k", 99), ("k = 99",)),
            ("negative k", topk, attribute("k", -1), ("k = -1",)),
            ("unknown activation", topk, attribute("activation", "tanh"), ("activation = tanh", "swiglu")),
            ("unknown capacity order", topk, attribute("capacity_order", "random"), ("capacity_order = random", "position")),
            ("unknown balance mode", topk, attribute("balance_mode", "last"), ("balance_mode = last", "assignments")),
            ("loss of another router", topk, attribute("coef_load", 1.0), ("load",)),
            ("loss without coefficient", topk, attribute("aux_losses", "balance,load"), ("load",)),
            ("coefficient that is not a number", topk, attribute("coef_z", float("nan")), ("coef_z",)),
            ("no expected results", topk, without(*results), ("no expected result",)),
            ("classifier", model, attribute("kind", "classifier"), ("kind = classifier", "lm")),
            ("token out of the vocabulary", model, entry("data/tokens", (3, 1, 2), 50), ("data/tokens", "50")),
            ("negative token", model, entry("data/tokens", (0, 0, 0), -1), ("data/tokens", "-1")),
            ("missing tokens", model, without("data/tokens"), ("data/tokens",)),
            ("other number of steps", model, attribute("steps", 11), ("data/tokens",)),
            ("heads that do not divide", model, attribute("attention_heads", 5), ("attention_heads = 5", "32")),
            ("expert block that does not exist", model, attribute("moe_layers", "0,2"), ("layers", "2")),
            ("missing weight of a block", model, without("params/blocks/1/attn/wk"), ("blocks/1/attn/wk",)),
            ("model with an unsupported router", model, attribute("moe_router", "sigmoid_bias"), ("moe_router = sigmoid_bias",)),
            ("model with noise that is not in the file", model, attribute("moe_router", "noisy_topk"), ("noisy_topk",))):
        path = changed(source, "refused", action)
        problems = []
        for ranks in (1, 2):
            result = pleiad(["verify", path], ranks)
            lines = [line for line in result.err.splitlines() if line.strip()]
            if result.code != 2 or len(lines) != 1 or not lines[0].startswith("pleiad: ") or any(word not in lines[0] for word in says):
                problems.append(f"{ranks} ranks, expected one line with {', '.join(says)}: {result}")
        checks.report(f"refused: {what}", problems)

    for what, source, action, quantity in (
            ("an expected result of another size", topk, replace("output/y", lambda v: v[:-1]), "output/y"),
            ("shorter routing lists", topk, every(replace("routing/expert", lambda v: v[:-3]), replace("routing/weight", lambda v: v[:-3])), "routing/expert"),
            ("offsets that are nonsense", model, replace("step0/routing_0/offset", lambda v: v * 1000 - 5), "step0/routing_0/offset"),
            ("nan as expected result", topk, entry("output/y", (0, 0), float("nan")), "output/y")):
        path = changed(source, "odd", action)
        problems = []
        for ranks in (1, 2):
            result = pleiad(["verify", path], ranks)
            if result.code != 1 or not any(quantity in line and line.endswith("FAILED") for line in result.out.splitlines()):
                problems.append(str(result))
        checks.report(f"{what}: a failed comparison, exit code 1", problems)

    # What is allowed though it looks odd.
    frozen = every(lambda f: f["params/router/w"].attrs.__setitem__("trainable", 0), without("grads/router/w"))
    fewer = without("output/d_x", "routing/logits", "grads/experts/0/w_in")
    checks.report("a parameter that is not trainable", passes([changed(topk, "frozen", frozen)], 2))
    checks.report("only some of the results", passes([changed(topk, "fewer", fewer)], 2))


def reference_is_right(checks):
    """The forward pass of the reference against the golden files, so that an error of ours is not taken for one of the program."""
    golden = os.path.join(SOURCE, "tests", "golden")
    for name in sorted(n for n in os.listdir(golden) if n.endswith(".h5") and not n.startswith("model_")):
        with h5py.File(os.path.join(golden, name), "r") as file:
            options = {}
            for key in DEFAULTS:
                value = file.attrs[key]
                options[key] = value.decode() if isinstance(value, bytes) else value.item()
            options["expert_widths"] = [int(w) for w in options["expert_widths"].split(",")]
            params = {}
            file["params"].visititems(lambda n, item: params.__setitem__(n, single(item[()])) if isinstance(item, h5py.Dataset) else None)
            noise = single(file["input/noise"][()]) if "input/noise" in file else None
            y, losses, routing, _ = reference.layer(options, params, single(file["input/x"][()]), noise)
            far = [np.abs(y.real - file["output/y"][()]).max() > 1e-11]
            far += [abs(value.real - file["losses/" + loss][()]) > 1e-11 for loss, value in losses.items()]
            far += [sorted(set(losses) | {"objective"}) != sorted(file["losses"])]
            far += [not np.array_equal(routing[n], file["routing/" + n][()]) for n in ("offset", "expert", "dropped")]
        checks.report(f"the reference agrees with {name}", ["it does not"] if any(far) else [])


def main():
    checks = Checks()
    reference_is_right(checks)
    files, dropped_all = [], 0
    for number, name in enumerate(LAYERS):
        path = os.path.join(TMP, name + ".h5")
        _, routing, options, tokens = make_layer(path, name, 100 + number)
        files.append(path)
        if options["capacity_factor"] > 0:
            dropped_all += int((np.diff(routing["offset"]) == 0).sum())
            if reference.capacity_of(options, tokens) < tokens and name != "whole_number_capacity":
                checks.report(f"{name} drops", [] if routing["dropped"] > 0 else ["the case shows nothing"])
    checks.report("tokens that lose all experts occur", [] if dropped_all > 5 else [str(dropped_all)])
    for number, name in enumerate(MODELS):
        files.append(os.path.join(TMP, name + ".h5"))
        make_model(files[-1], name, 200 + number)

    for path in files:
        checks.report(f"{os.path.basename(path)[:-3]}, float64", passes([path], 1, program=PLEIAD_F64))
    for ranks in (1, 2, 3, 5):
        checks.report(f"{len(files)} generated files, float32, ranks: {ranks}", passes(files, ranks))
    checks.report(f"{len(files)} generated files, float64, 4 ranks", passes(files, 4, program=PLEIAD_F64))
    refused(checks)
    checks.finish()


if __name__ == "__main__":
    main()
