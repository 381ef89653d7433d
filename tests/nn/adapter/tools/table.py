"""The table: what is done with a module, and which cells are not "works"."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from . import changes, compiled, files, frameworks, functions, precision, training
from .kinds import Kind

Check = Callable[[Kind], None]

WORKS, REFUSED, LIMIT, NONE, FAILS = "works", "refused", "torch's own limit", "no such thing", "fails"
#: How messages begin that a check makes itself.
OURS = ("Tensor-likes", "AssertionError", "the check could not fail")


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
    """Cells that do not work: refused by tnkit with a message, or a limit of torch, which a dense module meets too."""

    verdict: str
    tool: str
    #: Names of kinds; none: all of them.
    kinds: tuple[str, ...]
    #: What the message says.
    says: str


RULES: list[Rule] = []


def expected(tool: Tool, kind: Kind) -> Rule:
    """What the cell is."""
    for rule in RULES:
        if rule.tool == tool.name and (not rule.kinds or kind.name in rule.kinds):
            return rule
    return Rule(WORKS, tool.name, (kind.name,), "")


def raised(tool: Tool, kind: Kind) -> Exception | None:
    """What the check of a cell raises."""
    with warnings.catch_warnings():
        if tool.quiet:
            warnings.simplefilter("ignore")
        try:
            tool.check(kind)
        except Exception as error:
            return error
    return None


def outcome(tool: Tool, kind: Kind) -> tuple[str, str]:
    """Verdict and message.  What torch refuses to a dense module, or to one parametrized by torch's own means, is torch's limit."""
    rule = expected(tool, kind)
    if rule.verdict == NONE:
        return NONE, rule.says
    error = raised(tool, kind)
    if error is None:
        return WORKS, ""
    message = one_line(error)
    if rule.verdict == REFUSED and re.search(rule.says, message):
        return REFUSED, message
    for how in ("dense", "parametrized"):
        theirs = raised(tool, kind.standing_in(how))
        if theirs is not None and type(theirs) is type(error) and one_line(theirs)[:40] == message[:40]:
            if not message.startswith(OURS):
                return LIMIT, message
    return FAILS, f"{type(error).__name__}: {message}"


def one_line(error: Exception) -> str:
    """A message in a line, its middle left out where it is long, without what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]+", "0x...", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 240 else f"{text[:100]} ... {text[-130:]}"
