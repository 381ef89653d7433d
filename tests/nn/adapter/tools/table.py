"""The table: what is done with a module, and which cells are not "works"."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from . import changes, compiled, files, frameworks, functions, precision, training
from .kinds import Kind

#: What it returns, if anything, is a difference that the page tells.
Check = Callable[[Kind], float | None]

WORKS, REFUSED, LIMIT, NONE, FAILS = "works", "refused", "limit", "no such thing", "fails"
#: How messages begin that a check makes itself.
OURS = ("Tensor-likes", "AssertionError", "the check could not fail", "weight")


@dataclass(frozen=True)
class Tool:
    """Something that people do with a module: ``check`` raises where it does not give what the dense twin gives."""

    name: str
    check: Check
    #: More than a few hundredths of a second a kind.
    slow: bool = False
    #: Packages it needs beside torch; their warnings, and those of parts of torch that are old, are theirs.
    needs: tuple[str, ...] = ()
    old: bool = False

    @property
    def quiet(self) -> bool:
        return self.old or bool(self.needs)


_TOOLS = [
    Tool("state_dict, loaded strictly", files.state_dict),
    Tool("torch.save, torch.load(weights_only=True)", files.weights_only),
    Tool("safetensors: save_model, load_model", files.safetensors, needs=("safetensors",)),
    Tool("torch.save of the whole module", files.whole_saved),
    Tool("pickle", files.pickled),
    Tool("copy.deepcopy", files.deepcopied),
    Tool("meta device, to_empty, load_state_dict(assign=True)", files.meta),
    Tool("multiprocessing: share_memory, spawn", files.another_process, slow=True),
    Tool("torch.compile(fullgraph=True)", compiled.compiled, slow=True),
    Tool("torch.export", compiled.exported, slow=True),
    Tool("torch.export, any batch", compiled.exported_dynamic, slow=True),
    Tool("ONNX, run by onnxruntime", compiled.onnx, slow=True, needs=("onnx", "onnxscript", "onnxruntime")),
    Tool("torch.jit.trace", compiled.traced, slow=True, old=True),
    Tool("torch.func: functional_call, grad", functions.functional),
    Tool("torch.func: stack_module_state, vmap", functions.stacked),
    Tool("torch.func: jvp", functions.forward_mode),
    Tool("gradcheck, gradgradcheck", functions.checked),
    Tool("torch.utils.checkpoint", functions.checkpointed),
    Tool("hooks, clip_grad_norm_", functions.hooked),
    Tool("parameters listed, counted, frozen", functions.frozen),
    Tool("autocast to bfloat16", precision.autocast),
    Tool(".double(), .bfloat16(), .half()", precision.converted),
    Tool("AdamW: groups, its state loaded", training.optimised),
    Tool("AveragedModel (EMA)", training.averaged),
    Tool("DistributedDataParallel", training.replicated, old=True),
    Tool("FSDP: fully_shard", training.sharded, old=True),
    Tool("parametrize.cached()", training.cached),
    Tool("eval mode: weights never stale", training.never_stale),
    Tool("inference_mode, trained after it", training.inferred),
    Tool("other parametrizations on top", changes.parametrized_further),
    Tool("the weight written in place", changes.written),
    Tool("the weight pruned", changes.pruned),
    Tool("the arrays pruned", changes.arrays_pruned),
    Tool("quantize_dynamic", changes.quantised, old=True),
    Tool("merge_", changes.merged),
    Tool("Lightning: Trainer, checkpoint", frameworks.lightning, slow=True, needs=("lightning",)),
    Tool("accelerate: prepare, init_empty_weights, load", frameworks.accelerated, slow=True, needs=("accelerate",)),
    Tool("transformers: Trainer", frameworks.hugging_face_trainer, slow=True, needs=("transformers", "accelerate")),
    Tool("transformers: save_pretrained, from_pretrained", frameworks.pretrained, slow=True, needs=("transformers",)),
    Tool("peft: LoRA beside it", frameworks.lora, slow=True, needs=("peft",)),
    Tool("peft: merge_and_unload", frameworks.lora_merged, slow=True, needs=("peft",)),
]
TOOLS = {tool.name: tool for tool in _TOOLS}


@dataclass(frozen=True)
class Rule:
    """Cells that do not work: refused by tnkit with a message, a limit of the tool, which meets others too, or no such thing."""

    verdict: str
    tool: str
    #: Names of kinds; none: all of them.
    kinds: tuple[str, ...]
    #: What the message says.
    says: str
    #: What the page says, where the message is one of the check's own.
    why: str = ""
    #: Whether the limit is one of some processors: on others the cell works.
    of_processor: bool = False


_RECURRENT = ("LSTM", "GRU", "RNN")
_TN = ("TNLinear", "TNEmbedding")
_UNKNOWN_TO_PEFT = (
    "Bilinear",
    "ConvTranspose2d",
    "EmbeddingBag",
    *_RECURRENT,
    "one's own, three axes",
    "LayerNorm",
    *_TN,
)
_ARRAYS = "its arrays are its parameters: it has no weight"

RULES = [
    *(
        Rule(NONE, tool, ("TNModule",), _ARRAYS)
        for tool in (
            "other parametrizations on top", "the weight written in place", "the weight pruned", "merge_",
            "peft: LoRA beside it", "peft: merge_and_unload",
        )
    ),
    *(
        Rule(LIMIT, tool, ("spectral_norm", "weight_norm"), "Serialization of parametrized modules")
        for tool in ("torch.save of the whole module", "pickle", "multiprocessing: share_memory, spawn")
    ),
    Rule(LIMIT, "torch.compile(fullgraph=True)", _RECURRENT, "Dynamo does not support RNN"),
    Rule(LIMIT, "torch.func: stack_module_state, vmap", _RECURRENT, "Batching rule not implemented"),
    Rule(LIMIT, "torch.func: jvp", ("EmbeddingBag", "MultiheadAttention", "TransformerEncoderLayer", "weight_norm"), "does not support it"),
    Rule(LIMIT, "gradcheck, gradgradcheck", ("EmbeddingBag", "MultiheadAttention"), "derivative for .* is not implemented"),
    Rule(LIMIT, "gradcheck, gradgradcheck", ("weight_norm",), "Jacobian mismatch"),
    Rule(LIMIT, "autocast to bfloat16", ("LSTM",), "primitive", of_processor=True),
    Rule(LIMIT, "transformers: Trainer", ("language model, tied",), "Some tensors share memory"),
    Rule(LIMIT, "meta device, to_empty, load_state_dict(assign=True)", ("language model, tied",), "keys of the mappings", "load_state_dict(assign=True) unties what is tied"),
    Rule(LIMIT, "torch.func: stack_module_state, vmap", ("language model, tied",), "Tensor-likes", "a base of the meta device is untied"),
    Rule(LIMIT, "the arrays pruned", ("language model, tied",), "Tensor-likes", "what is pruned is untied"),
    Rule(LIMIT, "accelerate: prepare, init_empty_weights, load", ("language model, tied",), "Cannot copy out of meta tensor"),
    Rule(LIMIT, "other parametrizations on top", _TN, "does not have a parameter"),
    Rule(REFUSED, "the weight written in place", (), "is made by a network, .*(merge_|layer.tn)"),
    Rule(LIMIT, "the weight pruned", (), "torch.nn.Parameter or None required"),
    Rule(LIMIT, "quantize_dynamic", ("Linear", "Linear, ADTN", "Linear, added", "TransformerEncoderLayer", "spectral_norm", "weight_norm", "LSTM", "GRU", "language model, tied"), "from_float only works for"),
    Rule(REFUSED, "merge_", _TN, "nothing to merge"),
    Rule(LIMIT, "peft: LoRA beside it", _UNKNOWN_TO_PEFT, "Target module .*MultiheadAttention"),
    Rule(LIMIT, "peft: LoRA beside it", ("MultiheadAttention",), "no deleter"),
    Rule(LIMIT, "peft: merge_and_unload", _UNKNOWN_TO_PEFT, "Target module .*MultiheadAttention"),
    Rule(LIMIT, "peft: merge_and_unload", ("MultiheadAttention",), "no deleter"),
    Rule(LIMIT, "peft: merge_and_unload", ("Conv2d, grouped",), "groups > 1"),
    Rule(LIMIT, "peft: merge_and_unload", ("spectral_norm", "weight_norm"), "Tensor-likes", "what LoRA learned is lost, at any parametrized weight"),
    Rule(REFUSED, "peft: merge_and_unload", (), "merge_"),
]  # fmt: skip


def expected(tool: Tool, kind: Kind) -> Rule:
    """What the cell is."""
    for rule in RULES:
        if rule.tool == tool.name and (not rule.kinds or kind.name in rule.kinds):
            return rule
    return Rule(WORKS, tool.name, (kind.name,), "")


def tried(tool: Tool, kind: Kind) -> float | Exception | None:
    """What the check of a cell returns or raises."""
    with ExitStack() as quiet:
        quiet.enter_context(warnings.catch_warnings())
        if tool.quiet:
            warnings.simplefilter("ignore")
            for silenced in (redirect_stdout, redirect_stderr):
                quiet.enter_context(silenced(io.StringIO()))
        try:
            return tool.check(kind)
        except Exception as error:
            return error


def outcome(tool: Tool, kind: Kind) -> tuple[str, str]:
    """Verdict and message.  What a tool refuses to a dense module, or to one parametrized by torch's own means, is its limit."""
    rule = expected(tool, kind)
    if rule.verdict == NONE:
        return NONE, rule.says
    error = tried(tool, kind)
    if not isinstance(error, Exception):
        return WORKS, "" if error is None else f"{error:.0e}"
    message = one_line(error)
    if rule.verdict == REFUSED and re.search(rule.says, message):
        return REFUSED, message
    for how in ("dense", "parametrized"):
        theirs = tried(tool, kind.standing_in(how))
        same = isinstance(theirs, Exception) and type(theirs) is type(error) and alike(one_line(theirs), message)
        if same and (how == "dense" or not message.startswith(OURS)):
            return LIMIT, message
    return FAILS, f"{type(error).__name__}: {message}"


def alike(one: str, other: str) -> bool:
    """Two messages that begin or end alike: names of classes differ."""
    return one[:40] == other[:40] or one[-60:] == other[-60:]


def one_line(error: Exception) -> str:
    """A message in a line, its middle left out where it is long, without what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]+", "0x...", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 240 else f"{text[:100]} ... {text[-130:]}"
