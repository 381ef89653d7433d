"""A real transformer, from ``examples/results/minilm.json``: docs/minilm.md."""

from __future__ import annotations

from statistics import mean, stdev

from table_parts import table

from rendering.common import Records, example, name, percent

MINILM = {
    "low_rank_aware": "low rank, activation-aware start", "first_layers": "first layers of the original", "linear_probe": "linear probe",
    "fine_tuned": "two layers fine-tuned",
}  # fmt: skip


def distilled() -> str:
    """Cosine and agreement before and after the distillation, the best of each budget first."""
    whole, counts = 6 * 12 * 384**2, example("minilm")["distilled"]["size"]["sentences"]
    lines = []
    for row in sorted(example("minilm")["distilled"]["rows"], key=lambda row: (-row["share"], -row["after"]["cosine"])):
        label = MINILM.get(row["way"], name(row["way"])) if row["share"] else "all six layers left out"
        read = [f"{row[when][what]:.3f}" for what in ("cosine", "agreement") for when in ("before", "after")]
        lines.append(
            [f"{100 * row['share']:.0f} %", label + (f", {counts['train']:,} sentences" if row["part"] == "train" else ""),
             f"{row['parameters']:,}", f"{100 * row['parameters'] / whole:.1f}", *read, f"{row['rate']:g}", f"{row['fit_seconds']:.0f}",
             f"{row['train_seconds']:.0f}"]
        )  # fmt: skip
    heads = ["budget", "matrices", "parameters", "% of the original", "cosine, before", "after", "agreement, before", "after", "rate",
             "seconds, start", "training"]  # fmt: skip
    return table(heads, lines)


def told() -> str:
    """Sizes, steps, and whether the best of each budget is above a cosine of .9."""
    size, rows = example("minilm")["distilled"]["size"], example("minilm")["distilled"]["rows"]
    counts, rates = size["sentences"], ", ".join(f"{rate:g}" for rate in size["rates"])
    text = (
        f"Each row is trained on {size['short']} sentences in {-(-size['short'] // size['batch'])} steps, with one seed. "
        f"The row that says so has {counts['train']:,}. All are measured on {counts['test']} other sentences. "
        f"The rate of each kind is the best of {rates} on {counts['val']} validation sentences, at its first budget.\n"
    )
    if (planned := example("minilm")["distilled"]["planned"]) > len(rows):
        text = f"{len(rows)} of {planned} rows are measured so far; the script goes on with the others. {text}"
    for share in sorted({row["share"] for row in rows if row["share"]}, reverse=True):
        best = max((row for row in rows if row["share"] == share), key=lambda row: row["after"]["cosine"])
        reached = "above" if best["after"]["cosine"] > 0.9 else "not above"
        label = MINILM.get(best["way"], name(best["way"]))
        text += f"\n- At {100 * share:.0f} % the best row ({label}) ends at a cosine of {best['after']['cosine']:.3f}, {reached} 0.9."
    return text


def adapted() -> str:
    """Test accuracy of the adapters, mean and standard deviation over the seeds, at the rate that validation chose."""
    chosen: dict[str, Records] = {}
    rows = example("minilm")["adapted"]["rows"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        rate = max((r for r in rows if r["kind"] == kind and r["seed"] == 0), key=lambda r: r["val"])["rate"]
        chosen[kind] = [r for r in rows if r["kind"] == kind and r["rate"] == rate]
    lines = [
        [MINILM.get(kind, name(kind)), f"{of[0]['parameters']:,}", f"{of[0]['rate']:g}", str(len(of)), over_seeds(of),
         percent(r["val"] for r in of), ", ".join(percent([r["test"]]) for r in rows if r["kind"] == kind and r["seed"] == 0),
         f"{mean(r['seconds'] for r in of):.0f}"]
        for kind, of in chosen.items()
    ]  # fmt: skip
    heads = [
        "trained beside the head",
        "parameters",
        "rate",
        "seeds",
        "test accuracy, %",
        "validation, %",
        "first seed, at each rate",
        "seconds",
    ]
    size, planned = example("minilm")["adapted"]["size"], example("minilm")["adapted"]["planned"]
    text = (
        f"{size['sentences']['train']} sentences train in {size['epochs']} epochs, {size['sentences']['test']} others are the test. "
        f"The rate is the better of {' and '.join(f'{rate:g}' for rate in size['rates'])} on the validation part, with the first seed."
    )
    if planned > len(rows):
        text += f" {len(rows)} of {planned} trainings are done so far; the script goes on with the others."
    return f"{text}\n\n{table(heads, lines)}"


def over_seeds(rows: Records) -> str:
    """Mean test accuracy and its standard deviation, per cent; of one seed the accuracy alone."""
    values = [row["test"] for row in rows]
    return percent(values) + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")
