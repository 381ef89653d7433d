"""Chains of which every site reads a row of data, with the classes in the middle: what tests of starts and of inputs contract."""

import tnkit as tk


def data_chain(sites, rank, features=2, batch=5, classes=3):
    nodes, sizes = [], {"batch": batch, "class": classes, "c": rank}
    for k in range(sites):
        left, right = [f"b{k}"] * (k > 0), [f"b{k + 1}"] * (k < sites - 1)
        if k == sites // 2:
            nodes.append(tk.Node("label", [*left, "class", "c"]))
            left = ["c"]
        nodes += [tk.Node(f"core_{k}", [*left, f"i{k}", *right]), tk.Node(f"x_{k}", ["batch", f"i{k}"], fixed=True)]
        sizes |= {f"i{k}": features, **dict.fromkeys(right, rank)}
    return tk.Network(nodes, ["batch", "class"], sizes)
