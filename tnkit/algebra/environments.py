"""Environments: a network less one of its nodes."""

from __future__ import annotations

from tnkit.core.checks import a_network, text
from tnkit.core.network import Network

__all__ = ["environment"]


def environment(net: Network, node: str) -> Network:
    """The network less one node: what the result's derivative by that node is.

    >>> net = tk.from_einsum("ij,jk,ki->", dict(i=2, j=3, k=4))
    >>> arrays = tk.init.normal(net)
    >>> around = tk.environment(net, "B")
    >>> around.output, [node.name for node in around.nodes]
    (('j', 'k'), ['A', 'C'])
    >>> gradient = tk.contract(around, {"A": arrays["A"], "C": arrays["C"]})
    >>> np.allclose((gradient * arrays["B"]).sum(), tk.contract(net, arrays))
    True

    Parameters
    ----------
    net
        A network of at least two nodes; any of them may be Elementwise.
    node
        Name of a node at the top level.

    Returns
    -------
    Network
        The other nodes.  Output: the node's indices that another node carries, each once and in the node's order, then the
        other indices of ``net.output`` that are left.  For a closed network (no output) its contraction is the gradient by
        the node's tensor: constant along indices that only the node has, and on the diagonal of an index that it has twice
        (elsewhere the gradient is 0).  The gradient by a tied array is the sum over its nodes.

    Raises
    ------
    KeyError
        No such node at the top level; the message names those there are.
    TypeError
        No Network, or a name that is no string.
    ValueError
        The network's only node.
    """
    gone = a_network(net, "environment")[text(node, "environment: node")]
    rest = tuple(n for n in net.nodes if n is not gone)
    if not rest:
        raise ValueError(f"environment: node {node!r} is the only one; its environment is the number 1, not a network")
    left = dict.fromkeys(i for n in rest for i in n.inds)
    output = [i for i in dict.fromkeys((*gone.inds, *net.output)) if i in left]
    return Network(rest, tuple(output), {i: net.sizes[i] for i in left})
