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
import _reference_model as reference_model  # noqa: E402
from _generated_cases import DEFAULTS, LAYERS, MODELS  # noqa: E402
from _program import PLEIAD_F64, SOURCE, TMP, Checks, pleiad  # noqa: E402


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


def draw_maps(rng, options, sequences, length):
    """Attention maps and the mask of real tokens, or None: rows add up to 1 over the keys they see."""
    mask = np.arange(length)[None, :] < rng.integers(1, length + 1, size=(sequences, 1)) if options["padded"] else None
    if options["router"] != "damoe":
        return None, mask
    weight = np.exp(2.5 * rng.normal(size=(sequences, options["attention_heads"], length, length)))
    if options["damoe_mode"] == "causal":
        weight = np.tril(weight)
    if mask is not None:
        weight = weight * mask[:, None, None, :]
    return (weight / weight.sum(axis=-1, keepdims=True)).astype("f4").astype(float), mask


def make_layer(path, name, seed):
    sequences, length, width, given = LAYERS[name]
    options = {**DEFAULTS, **given}
    rng = np.random.default_rng(seed)
    tokens = sequences * length
    for attempt in range(2000):
        x, d_y = single(rng.normal(size=(tokens, width))), single(rng.normal(size=(tokens, width)))
        noise = single(rng.normal(size=(tokens, options["experts"]))) if options["router"] == "noisy_topk" else None
        maps, mask = draw_maps(rng, options, sequences, length)
        params = draw(rng, reference.parameter_shapes(options, width), 2.0)
        y, losses, routing, margins = reference.layer(options, params, x, noise, maps, mask)
        if margins["gap"] > 1e-3 and margins["kink"] > 1e-4:
            break
    else:
        sys.exit(f"FAILED  {name}: no draw without a near tie")

    def objective():
        y, losses, _, _ = reference.layer(options, params, x, noise, maps, mask)
        return (y * d_y.real).sum() + sum(options["coef_" + loss] * value for loss, value in losses.items())

    trainable = {parameter: value for parameter, value in params.items() if parameter != "router/bias"}
    gradients = reference.derivative(objective, trainable)
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
        if maps is not None:
            file["input/attention"] = maps.astype("f4")
        if mask is not None:
            file["input/mask"] = mask.astype("i8")
        for parameter, value in params.items():
            file["params/" + parameter] = value.real.astype("f4")
            file["params/" + parameter].attrs["trainable"] = int(parameter in trainable)
        for parameter, value in gradients.items():
            file["grads/" + parameter] = value
        file["output/y"], file["output/d_x"] = y.real, d_x
        if "bias_after" in margins:
            file["output/bias_after"] = margins["bias_after"]
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
        if min(reference_model.decoder(m, moe, initial, tokens[0])[5].values()) < 1e-3:
            continue
        results, decay, gap = reference_model.train(m, moe, {n: v.copy() for n, v in initial.items()}, tokens)
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
    topk, noisy, damoe, hyper, model, encoder, dense, network = (os.path.join(golden, name + ".h5") for name in (
        "switch_top1_capacity", "noisy_topk", "damoe_rowmax", "hypermoe_top1", "model_switch", "model_encoder_damoe_rowmax", "model_dense",
        "model_hypermoe"))
    results = ("output", "grads", "losses", "routing")
    for what, source, action, says in (
            ("router base", topk, attribute("router", "base"), ("router = base", "topk", "noisy_topk", "peer")),
            ("unknown router", topk, attribute("router", "magic"), ("router = magic", "topk")),
            ("router soft", topk, attribute("router", "soft"), ("router = soft", "topk", "pkm")),
            ("hypernetwork without its parameters", topk, attribute("hyper", 1), ("params/hyper/",)),
            ("hypernetwork of a layer that is not there", hyper, attribute("layer_index", 99), ("layer_index = 99",)),
            ("hypernetwork with a weight of another shape", hyper, replace("params/hyper/down_w", lambda v: v[:-1]), ("hyper/down_w",)),
            ("padding without its mask", topk, attribute("padded", 1), ("input/mask",)),
            ("attention of another shape", damoe, replace("input/attention", lambda v: v[:, :, :-1]), ("input/attention",)),
            ("missing attention", damoe, without("input/attention"), ("input/attention",)),
            ("unknown kind of attention", damoe, attribute("damoe_mode", "mean"), ("damoe_mode = mean", "budget")),
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
            ("unknown kind of model", model, attribute("kind", "encoder"), ("kind = encoder", "lm", "classifier")),
            ("classifier without its lengths", encoder, without("data/length"), ("data/length",)),
            ("classifier with a length of 0", encoder, entry("data/length", (1, 2), 0), ("data/length", "0")),
            ("classifier with a length beyond the sequence", encoder, entry("data/length", (1, 2), 999), ("data/length", "999")),
            ("classifier with a class that is not there", encoder, entry("data/label", (1, 2), 77), ("data/label", "77")),
            ("token out of the vocabulary", model, entry("data/tokens", (3, 1, 2), 50), ("data/tokens", "50")),
            ("negative token", model, entry("data/tokens", (0, 0, 0), -1), ("data/tokens", "-1")),
            ("missing tokens", model, without("data/tokens"), ("data/tokens",)),
            ("other number of steps", model, attribute("steps", 11), ("data/tokens",)),
            ("heads that do not divide", model, attribute("attention_heads", 5), ("attention_heads = 5", "32")),
            ("expert block that does not exist", model, attribute("moe_layers", "0,2"), ("layers", "2")),
            ("missing weight of a block", model, without("params/blocks/1/attn/wk"), ("blocks/1/attn/wk",)),
            ("model with an unsupported router", model, attribute("moe_router", "base"), ("moe_router = base",)),
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
            ("another capacity", topk, attribute("capacity", 77), "capacity"),
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
    def other_kinds(file):
        for name, value in dict(file.attrs).items():
            if isinstance(value, bytes):
                file.attrs[name] = 0 if value == b"none" else value.decode().replace(",", ", ")
            else:
                file.attrs[name] = "none" if value == 0 else bool(value) if name in ("renormalize", "moe_renormalize") else float(value)
        file.attrs["author"] = "somebody"

    def only_what_is_used(file):
        for name, value in dict(file.attrs).items():
            if value in (0, b"none"):
                del file.attrs[name]

    for what, action in (("attributes of other kinds", other_kinds), ("attributes only where they are used", only_what_is_used)):
        checks.report(what, passes([changed(source, f"kinds{i}", action) for i, source in enumerate((topk, noisy, damoe, hyper, dense, encoder))], 2))
    masked = os.path.join(golden, "damoe_rowmax_padded.h5")
    checks.report("a mask of floats", passes([changed(masked, "mask", replace("input/mask", lambda v: v.astype("f4")))], 2))
    path = changed(topk, "more", lambda f: f.create_dataset("output/extra", data=np.arange(3.0)))
    result = pleiad(["verify", path], 2)
    checks.report("a result that is not computed is named", [] if result.code == 0 and "not compared: output/extra" in result.out else [str(result)])

    def a_row_for_each_block(file):
        for group in ("params", "grads", "final"):
            name = f"{group}/hyper_shared/layer_embedding"
            replace(name, lambda v: np.concatenate([v, np.zeros_like(v[:1])]))(file)

    checks.report("a layer embedding with a row nobody uses", passes([changed(network, "rows", a_row_for_each_block)], 2))
    checks.report("a parameter that is not trainable", passes([changed(topk, "frozen", frozen)], 2))
    checks.report("only some of the results", passes([changed(topk, "fewer", fewer)], 2))


def reference_is_right(checks):
    """The forward pass of the reference against the golden files, so that an error of ours is not taken for one of the program."""
    golden = os.path.join(SOURCE, "tests", "golden")
    for name in sorted(n for n in os.listdir(golden) if n.endswith(".h5") and not n.startswith(("model_", "peer_", "pkm"))):
        with h5py.File(os.path.join(golden, name), "r") as file:
            options = {}
            for key in DEFAULTS:
                value = file.attrs[key]
                options[key] = value.decode() if isinstance(value, bytes) else value.item()
            options["expert_widths"] = [int(w) for w in options["expert_widths"].split(",")]
            params = {}
            file["params"].visititems(lambda n, item: params.__setitem__(n, single(item[()])) if isinstance(item, h5py.Dataset) else None)
            noise = single(file["input/noise"][()]) if "input/noise" in file else None
            maps = file["input/attention"][()].astype(float) if "input/attention" in file else None
            mask = file["input/mask"][()] if "input/mask" in file else np.ones((file.attrs["sequences"], file.attrs["seq_len"]), bool)
            y, losses, routing, margins = reference.layer(options, params, single(file["input/x"][()]), noise, maps, mask)
            far = [np.abs(y.real - file["output/y"][()]).max() > 1e-11]
            far += [abs(value.real - file["losses/" + loss][()]) > 1e-11 for loss, value in losses.items()]
            if "bias_after" in margins:
                far += [np.abs(margins["bias_after"] - file["output/bias_after"][()]).max() > 1e-11]
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
