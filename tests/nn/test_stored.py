"""Networks out of files: nothing is allocated in the sizes that a file gives before they are known to be allowed."""

import json

import pytest
import torch

import tnkit as tk
from tnkit_nn.stored import MOST, read_network


def with_constant(rows, columns):
    """A vector times a constant of so many rows and columns."""
    nodes = (tk.Node("A", ("i",)), tk.Node("K", ("i", "j"), fixed="delta"))
    return tk.Network(nodes, ("j",), {"i": rows, "j": columns})


@pytest.mark.parametrize(
    "rows, columns, allowed", [(2, 3, True), (2, MOST // 2, True), (2, MOST // 2 + 1, False), (MOST, 3, False)]
)
def test_constants_may_be_as_large_as_is_allowed_and_arrays_as_large_as_they_are(rows, columns, allowed):
    plain = json.loads(tk.to_json(with_constant(rows, columns)))
    values = {"A": torch.zeros(1).expand(rows)}
    if allowed:
        assert read_network("file", "w", plain, values, "") == with_constant(rows, columns)
    else:
        with pytest.raises(
            ValueError, match=r"^file: damaged, the network of 'w' has constants of more than 134,217,728 entries; "
        ):
            read_network("file", "w", plain, values, "")


def test_arrays_are_held_by_the_file_however_large_they_are():
    net = tk.Network((tk.Node("A", ("i",)),), ("i",), {"i": 2 * MOST})
    assert read_network("file", "w", json.loads(tk.to_json(net)), {"A": torch.zeros(1).expand(2 * MOST)}, "") == net
