"""tnkit: tensor networks as values, plans that run anywhere."""
from tnkit.activations import ACTIVATIONS
from tnkit.network import *
from tnkit.ordering import OPTIMIZERS
from tnkit.plan import *
from tnkit.execute import *
