"""Write the tables in README.md, docs/ and the course from benchmarks/results/*.json.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; everything between is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.constants import DOCS, RESULTS, ROOT
from benchmarks.keeping import read_summary
from benchmarks.tables.calibration import CALIBRATION
from benchmarks.tables.course import COURSE
from benchmarks.tables.drafters import DRAFTERS
from benchmarks.tables.pricing import PRICING
from benchmarks.tables.proofs import PROOFS, Report, Rows
from benchmarks.tables.speed import SPEED
from benchmarks.tables.text import machine, markdown
from scripts.markdown import COURSE as COURSE_FOLDER
from scripts.markdown import between

PAGES = (
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("benchmarks", "drafters", "planning", "pricing", "proofs")),
    *(ROOT / COURSE_FOLDER / f"{name}.md" for name in ("README", "CHEATSHEET", "INTERVIEW")),
)


NOT_MEASURED = "Not measured yet."


def step(
    dtype: str, engine: str = "fairdraft", requests: int = 1, rows: int = 1, ctx: int = 300
) -> float:
    name = f"{dtype} {engine} requests={requests} rows={rows} context={ctx}"
    return float(read_summary("step_time")["median_ms"][name])


def summary(name: str) -> str:
    """Write the table of engines side by side, from a result of `benchmarks.suites.peers`."""
    report = read_summary(name)
    peers = {(c["engine"], c["method"], c["streams"]): c for c in report["configs"]}

    def speed(engine: str, method: str, streams: int) -> str:
        config = peers.get((engine, method, streams))
        return f"{config['tokens_per_second']:.1f}" if config else "–"

    rows = []
    for label, method, streams in [
        ("one stream, off", "off", 1),
        ("one stream, n-gram k = 4", "ngram", 1),
        ("one stream, auto", "auto", 1),
        ("eight streams, off", "off", 8),
        ("eight streams, n-gram k = 4", "ngram", 8),
        ("eight streams, auto", "auto", 8),
    ]:
        if ("fairdraft", method, streams) not in peers:
            continue
        cells = [speed(engine, method, streams) for engine in ("fairdraft", "vllm", "transformers")]
        for peer in ("vllm", "transformers"):
            ratio = report["ratios"].get(f"{method}, {streams} streams: fairdraft / {peer}")
            cells.append(f"{ratio:.2f}×" if ratio else "–")
        rows.append([label, *cells])
    header = ["tokens/s", "fairdraft", "vLLM", "transformers", "/ vLLM", "/ transformers"]
    settings, environment = report["settings"], report["environment"]
    versions = {
        name: number for each in report["versions"].values() for name, number in each.items()
    }
    listed = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    mode = f"fairdraft with {report['modes']['fairdraft']}. " if "modes" in report else ""
    lengths = settings["prompt_tokens"]
    drafted = "; ".join(
        f"{c['drafted']} drafted by {c['method']} at {c['streams']}, {c['accepted']} accepted"
        for c in report["configs"]
        if c.get("drafted")
    )
    own_off = "; ".join(
        f"{name.partition(':')[0]} {ratio:.3f}"
        for name, ratio in report["ratios"].items()
        if name.endswith("its own off")
    )
    note = (
        f"SmolLM2-135M, {settings['dtype']}, {len(lengths)} {settings['dataset']} prompts of "
        f"{min(lengths)} to {max(lengths)} tokens, {settings['max_tokens']} new tokens each, "
        "greedy; medians of "
        f"{settings['rounds']} interleaved rounds on {environment['cores']} cores "
        f"({environment['cpu']}), {environment['date'][:10]}. {mode}{listed}."
    )
    if own_off:
        note += f" fairdraft over its own off: {own_off}. Tokens: {drafted}."
    return "\n\n".join([markdown(header, rows), note])


def steps() -> str:
    rows = []
    for dtype in ("bfloat16", "float32"):
        ours, theirs = (
            [step(dtype, e, rows=n) for n in (1, 5)] for e in ("fairdraft", "transformers")
        )
        rows.append(
            [
                dtype,
                *(f"{value:.1f}" for value in (*ours, *theirs)),
                f"{ours[0] / theirs[0]:.2f}",
                f"{ours[1] / ours[0]:.2f}",
                f"{read_summary('step_time')['median_ms'][f'{dtype} sum']:.1f}",
            ]
        )
    header = [
        "ms a step, context 300",
        "ours, 1 row",
        "ours, 5 rows",
        "eager, 1 row",
        "eager, 5 rows",
        "ours / eager",
        "T(5) / T(1)",
        "floor",
    ]
    rows_by_context = [
        [f"{context:,}", *(f"{step('bfloat16', rows=n, ctx=context):.1f}" for n in (1, 5))]
        for context in (300, 1_000, 4_000, 8_000)
    ]
    batch = [[f"8 requests × {n}", f"{step('bfloat16', requests=8, rows=n):.1f}"] for n in (1, 5)]
    return "\n\n".join(
        [
            markdown(header, rows),
            "The floor is a plain torch sum over as many bytes as the weights have.",
            markdown(["bfloat16, context", "1 row, ms", "5 rows, ms"], rows_by_context),
            markdown(["bfloat16, context 300", "ms"], batch),
            machine(read_summary("step_time")["environment"]),
        ]
    )


def identity(name: str) -> str:
    report = read_summary(name)
    rows = []
    for row in report["rows"]:
        near = sum(m["near_tie"] for m in row["mismatches"])
        rows.append(
            [
                f"`{row['run']}`",
                row["against"],
                f"{row['texts'] - len(row['mismatches'])} / {row['texts']}",
                f"{row.get('tokens', row['texts'] * report['tokens_per_text']):,}",
                str(near),
                str(len(row["mismatches"]) - near),
                f"{row['accepted']} / {row['drafted']}",
                str(row["preemptions"]),
                str(row["cached_tokens"]),
            ]
        )
    header = [
        "run",
        "against",
        "identical texts",
        "tokens",
        "near-ties",
        "unexplained",
        "accepted / drafted",
        "preemptions",
        "cached prompt tokens",
    ]
    return markdown(header, rows) + "\n\n" + machine(report["environment"])


def ngram() -> str:
    report = read_summary("ngram")
    cost = ", ".join(f"{int(c):,} tokens: {t:.1f} µs" for c, t in report["proposal_us"].items())
    found = {(r["dataset"], r["k"], r["match"]): r["tokens_per_step"] for r in report["match"]}
    rows = [
        [f"{dataset}, k = {k}", f"{latest:.3f}", f"{found[dataset, k, 'earliest']:.3f}"]
        for (dataset, k, match), latest in found.items()
        if match == "latest"
    ]
    return (
        f"One proposal, index update included, at a context of {cost}.\n\n"
        + markdown(["tokens per step", "latest", "earliest"], rows)
        + "\n\n"
        + machine(report["environment"])
    )


def bench() -> str:
    report = read_summary("bench")
    rows = []
    for cell in report["cells"]:
        counters = cell["counters"]
        rows.append(
            [
                f"{cell['dataset']}, {cell['method']}, k = {cell['k']}",
                str(cell["concurrency"]),
                f"{cell['tokens_per_second']:.1f}",
                f"{cell['speedup']:.2f}×",
                f"{counters['mean_acceptance_length']:.2f}",
                f"{counters['tokens_per_step']:.2f}",
                f"{cell['times']['overhead']:.1%}",
            ]
        )
    header = [
        "bfloat16",
        "streams",
        "tokens/s",
        "speedup",
        "mean acceptance length",
        "tokens per step",
        "outside the run",
    ]
    settings = report["settings"]
    run = (
        f"{settings['num_prompts']} prompts each, {settings['max_tokens']} new tokens, medians of "
        f"{settings['rounds']} rounds. "
    )
    return markdown(header, rows) + "\n\n" + run + machine(report["environment"])


def written(needs: str, write: Callable[[Report], Rows]) -> str:
    """A table of `tables_proofs` or `tables_drafters`."""
    report = read_summary(needs)
    header, rows, note = write(report)
    return "\n\n".join([markdown(header, rows), note, machine(report["environment"])])


# Table → (the result that it cannot do without, what writes it).
TABLES: dict[str, tuple[str | None, Callable[[], str]]] = {
    "summary": ("peers", partial(summary, "peers")),
    "peers_mixed": ("peers_mixed", partial(summary, "peers_mixed")),
    "steps": ("step_time", steps),
    "bench": ("bench", bench),
    "identity": ("identity", partial(identity, "identity")),
    "identity_others": ("identity_others", partial(identity, "identity_others")),
    "ngram": ("ngram", ngram),
    **{name: (name, partial(written, name, write)) for name, write in PROOFS.items()},
    **{
        name: (needs, partial(written, needs, write))
        for name, (needs, write) in (DRAFTERS | PRICING | SPEED | CALIBRATION).items()
    },
    **{name: (None, write) for name, write in COURSE.items()},
}


def filled(text: str) -> str:
    """Return a page with its tables written anew; one without a result says so."""
    for name, (needs, write) in TABLES.items():
        mark = f"<!-- table: {name} -->"
        if mark in text:
            there = needs is None or (RESULTS / f"{needs}.json").exists()
            text = between(text, mark, "<!-- end -->", write() if there else NOT_MEASURED)
    return text


def main() -> None:
    """Write the tables of every page."""
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
