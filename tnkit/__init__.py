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
from tnkit.algebra.application import apply, multiply
from tnkit.algebra.environments import environment
from tnkit.algebra.expectation import density_matrix, expect, local_expectation
from tnkit.algebra.inner import distance, inner, norm
from tnkit.algebra.likelihoods import log_likelihood, marginals
from tnkit.algebra.operators import operator
from tnkit.algebra.projection import project
from tnkit.algebra.sampling import Samples, sample
from tnkit.algebra.sums import add
from tnkit.approx.contraction import contract_approx
from tnkit.builders.chains import *
from tnkit.builders.circuits import *
from tnkit.builders.lattices import *
from tnkit.builders.registry import BUILDERS, EXAMPLES
from tnkit.builders.structured import *
from tnkit.builders.trees import *
from tnkit.core.activations import ACTIVATIONS
from tnkit.core.decomposition import Decomposition
from tnkit.core.directions import directions
from tnkit.core.explain import explain
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.decompose.als import als
from tnkit.decompose.cp import *
from tnkit.decompose.registry import DECOMPOSITIONS
from tnkit.decompose.ring import *
from tnkit.decompose.svd import *
from tnkit.decompose.tucker import *
from tnkit.drawing import notebook as _notebook  # noqa: F401 (networks show their pictures)
from tnkit.drawing.draw import draw, to_svg, to_tikz
from tnkit.drawing.viewer import view
from tnkit.execution.backend import Backend
from tnkit.execution.einsum import einsum
from tnkit.execution.inputs import check_arrays
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import contract, run
from tnkit.execution.weights import detensorize, tensorize
from tnkit.interop.einsum import from_arrays, from_einsum, to_einsum
from tnkit.interop.files import from_json, load, save, to_json
from tnkit.interop.networkx import from_graph, to_graph
from tnkit.interop.scipy import linear_operator
from tnkit.interop.tensornetwork import from_tensornetwork, to_tensornetwork
from tnkit.moves.canonical import bond_entropy, bond_spectrum, canonicalize, round
from tnkit.moves.gates import apply_gate
from tnkit.moves.growth import expand_bonds
from tnkit.moves.moves import conj, merge, split, transpose
from tnkit.moves.reshaping import fuse, isel, squeeze, unfuse
from tnkit.paths.optimizers import OPTIMIZERS
from tnkit.planning.calibration import Rates, calibrate
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS", "BUILDERS", "DECOMPOSITIONS", "EXAMPLES", "NUMPY", "OPTIMIZERS", "Backend", "Decomposition",
    "Elementwise", "Network", "Node", "Plan", "Rates", "Samples", "add", "als", "apply", "apply_gate",
    "bond_entropy", "bond_spectrum", "calibrate", "canonicalize", "check_arrays", "conj", "contract",
    "contract_approx", "density_matrix", "detensorize", "directions", "distance", "draw", "einsum", "environment",
    "expand_bonds", "expect", "explain", "from_arrays", "from_einsum", "from_graph", "from_json",
    "from_tensornetwork", "fuse", "init", "inner", "isel", "linear_operator", "load", "local_expectation",
    "log_likelihood", "marginals", "merge", "mpo_svd", "multiply", "norm", "operator", "plan", "project", "round",
    "run", "sample", "save", "split", "squeeze", "tensorize", "testing", "to_einsum", "to_graph", "to_json",
    "to_svg", "to_tensornetwork", "to_tikz", "transpose", "unfuse", "view",
    *BUILDERS, *DECOMPOSITIONS,
]  # fmt: skip
