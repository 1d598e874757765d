#!/usr/bin/env python3
"""A byte-level Mixture-of-Experts language model in PyTorch, to be timed beside Pleiad (experiments/bench_torch).

    byte_model_torch.py --threads N --seconds S [--experts N] [--expert-width N] [--k N] ...

The same sizes and the same work as Pleiad's: RMS norms, rotary attention, top-k experts with renormalised weights (assignments sorted by
expert, one product per expert), a balance loss, AdamW with a clipped gradient. Random bytes, single precision. Prints one line of JSON.
"""
import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


def rotate(x, cos, sin):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads, self.dim = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        frequency = 10000.0 ** (-torch.arange(0, self.dim, 2) / self.dim)
        angle = torch.arange(length)[:, None] * frequency[None, :]
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("hidden", torch.ones(length, length, dtype=torch.bool).triu(1))

    def forward(self, x):
        sequences, length, width = x.shape
        q, k, v = self.qkv(x).view(sequences, length, 3, self.heads, self.dim).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, self.cos, self.sin), rotate(k, self.cos, self.sin)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(self.dim)
        weights = scores.masked_fill(self.hidden, float("-inf")).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(sequences, length, width))


class Experts(nn.Module):
    def __init__(self, width, experts, hidden, k):
        super().__init__()
        self.k, self.experts = k, experts
        self.router = nn.Linear(width, experts, bias=False)
        self.w_in = nn.ParameterList(nn.Parameter(torch.randn(hidden, width) / math.sqrt(width)) for _ in range(experts))
        self.w_out = nn.ParameterList(nn.Parameter(torch.randn(width, hidden) / math.sqrt(8 * hidden)) for _ in range(experts))

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        p = self.router(tokens).softmax(-1)
        weight, choice = p.topk(self.k, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        flat, order = choice.flatten().sort(stable=True)
        counts = torch.bincount(flat, minlength=self.experts)
        token = order // self.k
        rows = tokens[token].split(counts.tolist())
        out = torch.cat([F.linear(F.gelu(F.linear(r, i)), o) for r, i, o in zip(rows, self.w_in, self.w_out)])
        y = torch.zeros_like(tokens).index_add_(0, token, out * weight.flatten()[order, None])
        share = counts.to(p.dtype) / flat.numel()
        return y.view_as(x), self.experts * (share * p.mean(0)).sum()


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.embed = nn.Embedding(256, o.width)
        self.blocks = nn.ModuleList(
            nn.ModuleList((Norm(o.width), Attention(o.width, o.heads, o.length), Norm(o.width), Experts(o.width, o.experts, o.expert_width, o.k)))
            for _ in range(o.blocks))
        self.norm = Norm(o.width)
        self.head = nn.Linear(o.width, 256, bias=False)

    def forward(self, tokens, targets):
        x, balance = self.embed(tokens), 0.0
        for norm1, attention, norm2, experts in self.blocks:
            x = x + attention(norm1(x))
            y, loss = experts(norm2(x))
            x, balance = x + y, balance + loss / len(self.blocks)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten()) + 0.01 * balance


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("threads", 2), ("seconds", 20), ("width", 128), ("blocks", 4), ("heads", 4), ("length", 128), ("sequences", 32), ("experts", 8),
                        ("expert-width", 256), ("k", 2)):
        parser.add_argument("--" + name, type=int, default=value)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    model = Model(o)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    text = torch.randint(0, 256, (o.sequences, o.length + 1))
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < o.seconds:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(text[:, :-1], text[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    step = statistics.median(times[2:])
    print(json.dumps({"what": "PyTorch " + torch.__version__, "threads": o.threads, "steps": len(times), "seconds_per_step": step,
                      "tokens_per_second": o.sequences * o.length / step, "loss": loss.item()}))


if __name__ == "__main__":
    main()
