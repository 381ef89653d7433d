"""tnkit: tensor networks as values, plans that run anywhere.

Build a :class:`Network` (by hand, or with a builder such as :func:`tt` or :func:`adtn`), make arrays for it with
:mod:`tnkit.init`, look at its :func:`plan`, and :func:`contract` it in the library of its arrays: numpy,
torch, or any that follows the array API standard.
:func:`calibrate`, once a machine and in under a second, tells the planner how fast this one multiplies and moves memory.
"""

from tnkit.core.interrupts import early as _early

_early()  # Ctrl-C during the imports below

from tnkit import init as init
from tnkit import testing as testing
from tnkit.algebra.canonical import bond_entropy, bond_spectrum, canonicalize, round
from tnkit.algebra.environments import environment
from tnkit.algebra.inner import distance, inner, norm
from tnkit.algebra.projection import project
from tnkit.algebra.sums import add
from tnkit.builders.chains import *
from tnkit.builders.circuits import *
from tnkit.builders.lattices import *
from tnkit.builders.registry import BUILDERS, EXAMPLES
from tnkit.builders.trees import *
from tnkit.core.activations import ACTIVATIONS
from tnkit.core.decomposition import Decomposition
from tnkit.core.explain import explain
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.decompose.als import als
from tnkit.decompose.cp import *
from tnkit.decompose.registry import DECOMPOSITIONS
from tnkit.decompose.ring import *
from tnkit.decompose.svd import *
from tnkit.decompose.tucker import *
from tnkit.drawing.draw import draw, to_svg
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import contract, run
from tnkit.execution.weights import detensorize, tensorize
from tnkit.interop.einsum import from_arrays, from_einsum, to_einsum
from tnkit.interop.files import from_json, load, save, to_json
from tnkit.interop.networkx import from_graph, to_graph
from tnkit.interop.tensornetwork import from_tensornetwork, to_tensornetwork
from tnkit.paths.optimizers import OPTIMIZERS
from tnkit.planning.calibration import Rates, calibrate
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS", "BUILDERS", "DECOMPOSITIONS", "EXAMPLES", "NUMPY", "OPTIMIZERS", "Backend", "Decomposition",
    "Elementwise", "Network", "Node", "Plan", "Rates", "add", "als", "bond_entropy", "bond_spectrum", "calibrate",
    "canonicalize", "check_arrays", "contract", "detensorize", "distance", "draw", "environment", "explain",
    "from_arrays", "from_einsum", "from_graph", "from_json", "from_tensornetwork", "init", "inner", "load",
    "mpo_svd", "norm", "plan", "project", "round", "run", "save", "tensorize",
    "testing", "to_einsum", "to_graph", "to_json", "to_svg", "to_tensornetwork",
    *BUILDERS, *DECOMPOSITIONS,
]  # fmt: skip
