"""Tokens a second of sampling: our engine, the `generate` of transformers, and vLLM on the CPU where it is installed.

python -m benchmarks.generation
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.arms import Channel, Reply
from benchmarks.cases import Case
from benchmarks.report import Ratio, spread
from benchmarks.table import Table

if TYPE_CHECKING:
    from benchmarks.trainers import Bench
    from fissile.engines import Engine


def serve_ours(case: Case, channel: Channel) -> None:
    """`TransformersEngine`, as in training: the adapters are merged, and the weights laid out, in every call."""
    from benchmarks.trainers import Bench

    bench = Bench(case)
    policy = bench.policy()
    _serve_engine(bench, policy, bench.endless_engine(policy), channel)


def serve_vllm(case: Case, channel: Channel) -> None:
    """VLLM in this process, compiled (the uncounted round pays for that), with the policy's weights."""
    from benchmarks.trainers import Bench
    from fissile.engines.vllm import VLLMEngine
    from fissile.engines.vllm_runtime import VLLMRuntime, VLLMSettings

    bench = Bench(case)
    policy = bench.policy()
    runtime = VLLMRuntime(VLLMSettings(compile=True))
    _serve_engine(bench, policy, VLLMEngine(policy, end_ids=(), runtime=runtime), channel)


def serve_generate(case: Case, channel: Channel) -> None:
    """One left-padded batch of all rows. The adapters are merged beforehand, which is not counted."""
    import torch

    from benchmarks.trainers import Bench

    bench = Bench(case)
    model = bench.policy().merge_and_unload().eval()
    longest = max(map(len, bench.prompts))
    rows = [prompt for prompt in bench.prompts for _ in range(case.group_size)]
    ids = torch.tensor([[*[0] * (longest - len(row)), *row] for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])

    def repetition() -> None:
        sampled = model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            min_new_tokens=case.completion,
            max_new_tokens=case.completion,
            pad_token_id=bench.chat.tokenizer.pad_token_id,
        )
        assert sampled.shape == (case.rows, longest + case.completion)

    channel.repeat(repetition, **bench.facts())


def _serve_engine(bench: Bench, policy: Any, engine: Engine, channel: Channel) -> None:
    """Before each call the adapters move, as between the steps of a training: merged weights cannot be kept."""
    import torch

    from fissile.engines import Sampling

    sampling = Sampling(max_new_tokens=bench.case.completion)

    def repetition() -> None:
        completions = engine.generate(bench.prompts, sampling, bench.case.group_size)
        assert sum(len(completion.ids) for completion in completions) == bench.case.new_tokens

    @torch.no_grad()
    def move() -> None:
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(1e-6)

    channel.repeat(repetition, move, **bench.facts())


def tokens_per_second(case: Case, replies: Sequence[Reply]) -> Mapping[str, Any]:
    """Sampled tokens over seconds."""
    return {"tokens/s": spread([case.new_tokens / reply["seconds"] for reply in replies])}


WITH_VLLM = {"vllm": serve_vllm} if importlib.util.find_spec("vllm") else {}

TABLE = Table(
    name="generation",
    about="Tokens a second of sampling: ours, the generate of transformers, and vLLM where it is installed.",
    arms={"ours": serve_ours, "generate": serve_generate, **WITH_VLLM},
    ratios=(
        Ratio("speed, ours / generate", "generate", "ours", "4 at prompt 300, 6 at prompt 1000"),
        Ratio("speed, ours / vllm", "vllm", "ours", "1"),
    ),
    memory_ratio=("ours", "generate"),
    same_rows=True,
    derive=tokens_per_second,
)

if __name__ == "__main__":
    TABLE.main()
