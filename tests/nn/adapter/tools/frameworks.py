"""Libraries that train, keep and adapt models: they do to a network what they do to a dense weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .files import folder
from .kinds import Kind, differ, grads_of, loss, oracle, pair, same, stepped


def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in module.named_parameters()}


def lightning(kind: Kind) -> None:
    """Two steps of its trainer are two steps; its checkpoint is loaded into another module."""
    import lightning as L

    module, _, inputs = pair(kind)
    want = stepped(module, inputs, 2)

    class Lit(L.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return loss(self.model, tuple(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=True)
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", devices=1, **quiet)
    trainer.fit(Lit(module), DataLoader(TensorDataset(*inputs), batch_size=5))
    same(parameters(module), parameters(want))
    other = Lit(kind.made(seed=1))
    with folder() as path:
        trainer.save_checkpoint(path / "a.ckpt")
        other.load_state_dict(torch.load(path / "a.ckpt", weights_only=True)["state_dict"])
    same(other.model(*inputs), kind.twin(want)(*inputs))


def accelerated(kind: Kind) -> None:
    """``prepare`` and a step; a model made empty, its checkpoint dispatched."""
    from accelerate import Accelerator, init_empty_weights, load_checkpoint_and_dispatch

    module, _, inputs = pair(kind)
    want = stepped(module, inputs)
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(module, torch.optim.SGD(module.parameters(), lr=0.1))
    accelerator.backward(loss(model, inputs))
    optimizer.step()
    same(parameters(module), parameters(want))
    with folder() as path:
        accelerator.save_model(model, path)
        with init_empty_weights():
            other = kind.made(seed=1)
        assert all(p.is_meta for p in other.parameters())
        other = load_checkpoint_and_dispatch(other, str(path), device_map={"": "cpu"})
    same(other(*inputs), kind.twin(want)(*inputs))


class WithLoss(nn.Module):
    """What a trainer of transformers takes: tensors by name, a loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x0: torch.Tensor, x1: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        inputs = (x0,) if x1 is None else (x0, x1)
        out = self.model(*inputs)
        return {"loss": out.square().sum() / 10, "logits": out}


def hugging_face_trainer(kind: Kind) -> None:
    from safetensors.torch import load_model
    from transformers import Trainer, TrainingArguments

    module, _, inputs = pair(kind)
    want = stepped(module, inputs, 2)
    batch = [{f"x{k}": x[row] for k, x in enumerate(inputs)} for row in range(5)]
    with folder() as path:
        options = dict(report_to=[], save_strategy="no", max_grad_norm=0.0, remove_unused_columns=False, disable_tqdm=True)  # fmt: skip
        options |= dict(use_cpu=True, optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", logging_strategy="no")  # fmt: skip
        args = TrainingArguments(str(path), max_steps=2, per_device_train_batch_size=5, **options)
        model = WithLoss(module)
        trainer = Trainer(model=model, args=args, train_dataset=batch)
        trainer.train()
        same(parameters(module), parameters(want))
        trainer.save_model(str(path / "kept"))
        other = WithLoss(kind.made(seed=1))
        load_model(other, str(path / "kept" / "model.safetensors"))
    same(other.model(*inputs), kind.twin(want)(*inputs))


def _tied(kind: Kind) -> dict[str, str]:
    """What a model of transformers has to say of tied parameters: the later name -> the first."""
    first, found = {}, {}
    for name, p in kind.made().named_parameters(prefix="model", remove_duplicate=False):
        if first.setdefault(p, name) != name:
            found[name] = first[p]
    return found


def pretrained(kind: Kind) -> None:
    """``save_pretrained`` and ``from_pretrained``, which makes the model on the meta device."""
    from transformers import PretrainedConfig, PreTrainedModel

    class KindConfig(PretrainedConfig):
        model_type = "kind"

        def __init__(self, seed: int = 0, **options: Any) -> None:
            super().__init__(**{"tie_word_embeddings": True, **options})
            self.seed = seed

    class KindModel(PreTrainedModel):
        config_class = KindConfig
        _tied_weights_keys = _tied(kind)

        def __init__(self, config: KindConfig) -> None:
            super().__init__(config)
            self.model = kind.made(config.seed)
            self.post_init()

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.model(*inputs)

        def _init_weights(self, module: nn.Module) -> None:
            """As it was made."""

    module, dense, inputs = pair(kind)
    model = KindModel(KindConfig(seed=1))
    differ(model(*inputs), dense(*inputs))
    model.model.load_state_dict(module.state_dict())
    with folder() as path:
        model.save_pretrained(path)
        other = KindModel.from_pretrained(path)
    same(other(*inputs), dense.eval()(*inputs))
    loss(other, inputs).backward()
    want = oracle(kind, module.eval(), inputs)
    found = {n.removeprefix("model."): g for n, g in grads_of(other).items()}
    same({n: found[n] for n in want}, want)  # it trains what was frozen too, for it makes all parameters anew


def _adapted(model: nn.Module, kind: Kind) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=3, lora_alpha=4, target_modules=[kind.layer], init_lora_weights=False)
    return get_peft_model(model, config)


def lora(kind: Kind) -> None:
    """LoRA beside the network: only its own parameters train, the network stays."""
    module, dense, inputs = pair(kind)
    plain = dense(*inputs)
    got, want = _adapted(module, kind), _adapted(dense, kind)
    differ(want(*inputs), plain)
    same(got(*inputs), want(*inputs))
    trained = [n for n, p in got.named_parameters() if p.requires_grad]
    assert trained and all("lora" in n for n in trained)
    for m in (got, want):
        loss(m, inputs).backward()
    found = {n: p.grad for n, p in got.named_parameters() if p.requires_grad}
    same(found, {n: p.grad for n, p in want.named_parameters() if p.requires_grad})
    with got.disable_adapter():
        same(got(*inputs), plain)


def lora_merged(kind: Kind) -> None:
    """What LoRA learned, written into the weight."""
    module, dense, inputs = pair(kind)
    plain = dense(*inputs)
    got, want = _adapted(module, kind), _adapted(dense, kind)
    adapted = want(*inputs)
    differ(adapted, plain)
    for model in (got, want):
        same(model.merge_and_unload()(*inputs), adapted, rtol=1e-3, atol=1e-4)
