"""The command line that every table has: options, cases, arms in turn, and the file with the results."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm, Channel, Reply, Stopped, measure
from benchmarks.cases import Case, sweep
from benchmarks.report import Ratio, Results, machine, markdown, record

RESULTS = Path(__file__).parent / "results"

Serve = Callable[[Case, Channel], None]
"""The body of a child: load, then one repetition a turn until `Stopped`."""

Derive = Callable[[Case, Sequence[Reply]], Mapping[str, Any]]
"""More figures of a row, from its replies."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of the module and of its results.
        about: what it compares, for `--help`.
        arms: the children's bodies; the first arm is ours.
        ratios: the comparisons.
        memory_ratio: (ours, peer) whose peaks are compared.
        kinds: what the repetitions of an arm alternate between, where they do.
        groups: prompts of the base case.
        same_rows: larger groups are fewer.
        derive: more figures of a row.
    """

    name: str
    about: str
    arms: Mapping[str, Serve]
    ratios: tuple[Ratio, ...] = ()
    memory_ratio: tuple[str, str] | None = None
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: int = 4
    same_rows: bool = False
    derive: Derive = lambda case, replies: {}

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run the table, or one arm of it in this process."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        options = self._parser().parse_args(given)
        if options.serve:
            serve_arm(self.arms[options.serve], Case(**json.loads(options.case)))
            return
        results = Results(options.output)
        cases = sweep(
            options.prompt_tokens,
            options.group_size,
            options.completion,
            options.groups,
            self.same_rows,
            options.adapter,
        )
        where = machine(given, self.module)
        for number, case in enumerate(cases, start=1):
            if results.holds(case) and not options.again:
                _say(f"[{number}/{len(cases)}] {case}: held by {results.path.name}; --again measures it anew")
                continue
            _say(f"[{number}/{len(cases)}] {case}")
            arms = [self._arm(name, case) for name in options.arms]
            measured = measure(arms, options.repeats, options.budget_seconds, lambda text: _say(f"    {text}"))
            derived = {label: self.derive(case, replies) for label, replies in measured.rounds.items() if replies}
            results.add(record(case, measured, self.ratios, self.memory_ratio, derived, where))
        print(markdown([held for held in results.records() if Case(**held["case"]) in cases]))

    @property
    def module(self) -> str:
        """What `python -m` takes."""
        return f"benchmarks.{self.name}"

    def _arm(self, name: str, case: Case) -> Arm:
        order = ("--serve", name, "--case", json.dumps(asdict(case)))
        return Arm(name, (sys.executable, "-m", self.module, *order), self.kinds.get(name, ("",)))

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=self.about)
        add = parser.add_argument
        several = "; the first value is the base case's, the others are measured one at a time around it"
        add("--prompt-tokens", type=int, nargs="+", default=[300, 1000, 2300], help=f"tokens of a prompt{several}")
        add("--group-size", type=int, nargs="+", default=[8, 4, 16], help=f"completions of a prompt{several}")
        add("--completion", type=int, nargs="+", default=[64, 48, 128], help=f"tokens of a completion{several}")
        add("--groups", type=int, default=self.groups, help="prompts of the base case (default: %(default)s)")
        add("--adapter", default="", help="folder of the LoRA adapter to start with (default: a fresh one)")
        add("--arms", nargs="+", choices=list(self.arms), default=list(self.arms), help="who takes part")
        add("--repeats", type=int, default=5, help="counted rounds of a case (default: %(default)s)")
        add(
            "--budget-seconds", type=float, default=1800, help="of a case; then no further round (default: %(default)s)"
        )
        add("--output", type=Path, default=RESULTS / f"{self.name}.json", help="results, as JSON")
        add("--again", action="store_true", help="measure cases that the output already holds, too")
        add("--serve", choices=list(self.arms), help=argparse.SUPPRESS)
        add("--case", help=argparse.SUPPRESS)
        return parser


def serve_arm(serve: Serve, case: Case) -> None:
    """The life of a child."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    channel = Channel.claim()
    try:
        serve(case, channel)
    except Stopped:
        channel.finish()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
