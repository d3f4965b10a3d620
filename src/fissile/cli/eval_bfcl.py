"""`fissile eval bfcl`: the official BFCL v4 multi-turn score and the recovery metrics of any model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError

from fissile.cli.interruption import again, keeping
from fissile.cli.suite_policies import SCRIPTED, make_policy
from fissile.cli.suite_table import suite_tables
from fissile.console import PlainConsole
from fissile.engines.endpoint_settings import EndpointSettings, Omittable
from fissile.errors import ConfigError
from fissile.evaluation.losses import counted
from fissile.evaluation.suite import NATIVE, SuiteFolder, SuiteSettings, run_suite
from fissile.rollouts import End
from fissile.tasks import MULTI_TURN_CATEGORIES
from fissile.training.progress import Progress

_OMITTABLE = ", ".join(get_args(Omittable))


def bfcl(
    categories: Annotated[
        str, typer.Option(help=f"Comma-separated; of {', '.join(MULTI_TURN_CATEGORIES)}; 'all' for all four.")
    ] = "all",
    model: Annotated[
        str | None,
        typer.Option(
            help="'smollm2-135m' (the default), a Hugging Face id, a path; or the model's name at the endpoint."
        ),
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter on top of a local model.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible server, usually ending in /v1.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help=f"A scripted policy instead of a model: {', '.join(SCRIPTED)}.")
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(help="Tool-call format; 'native' for an endpoint's own calls, which is its default."),
    ] = None,
    template_option: Annotated[
        list[str] | None,
        typer.Option(help="A variable of the chat template, name=value, such as enable_thinking=false; repeatable."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="'official' ends the turn after a malformed call; 'recovery' answers it with its error.")
    ] = "official",
    domain: Annotated[
        str | None, typer.Option(help="Only file_system, vehicle, trading or travel: the one that training held out.")
    ] = None,
    tasks: Annotated[int | None, typer.Option(help="Only the first so many of each category.")] = None,
    docs: Annotated[str, typer.Option(help="'full', or 'brief' function docs for a short context.")] = "full",
    steps_per_turn: Annotated[int, typer.Option(help="Executed responses of a turn at most.")] = 21,
    steps: Annotated[int | None, typer.Option(help="Responses of a whole episode at most.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Longest context of a local model.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of a response.")] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
    inject_rate: Annotated[
        float, typer.Option(help="Share of the turns that begin with a forced failure; the score is then not BFCL's.")
    ] = 0.0,
    inject_seed: Annotated[int, typer.Option(help="Of the forced failures.")] = 0,
    inject_in_a_row: Annotated[int, typer.Option(help="Forced failures in succession at most.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests to the endpoint that run at once.")] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds that a request to the endpoint may take.")] = 120.0,
    retries: Annotated[int, typer.Option(help="Further tries of a request that failed for a passing reason.")] = 5,
    omit: Annotated[
        list[str] | None,
        typer.Option(help=f"Something that the endpoint refuses and is not sent; of {_OMITTABLE}. May be repeated."),
    ] = None,
    length_parameter: Annotated[
        str, typer.Option(help="How the endpoint calls the limit of a response: max_tokens or max_completion_tokens.")
    ] = "max_tokens",
    extra_body: Annotated[
        str | None, typer.Option(help="Further fields of each request to the endpoint, as a JSON object.")
    ] = None,
    max_failures: Annotated[
        int, typer.Option(help="The evaluation ends after so many contexts in a row that the endpoint did not answer.")
    ] = 5,
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the endpoint's key.")
    ] = "OPENAI_API_KEY",
    window: Annotated[int, typer.Option(min=1, help="Episodes that a local model runs side by side.")] = 16,
    output: Annotated[Path, typer.Option(help="Folder of the report and of every episode.")] = Path("runs/bfcl"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in the folder.")] = False,
) -> None:
    """Official accuracy per category and overall, error recovery, repeats, silent failures; with intervals."""
    console = PlainConsole()
    if endpoint is not None and policy is not None:
        raise ConfigError("--policy and --endpoint exclude each other. Give one of them.")
    if endpoint is not None and model is None:
        raise ConfigError("--endpoint needs --model: the name under which the server knows the model.")
    settings = _checked(
        SuiteSettings,
        policy=policy or model or "smollm2-135m",
        adapter=adapter,
        dialect=dialect or (NATIVE if endpoint else "hermes"),
        template_options=dict(map(_template_option, template_option or [])),
        categories=MULTI_TURN_CATEGORIES if categories == "all" else [name.strip() for name in categories.split(",")],
        domain=domain,
        tasks=tasks,
        docs=docs,
        protocol=protocol,
        steps_per_turn=steps_per_turn,
        steps=steps,
        context_tokens=context_tokens,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        injection={"rate": inject_rate, "seed": inject_seed, "in_a_row": inject_in_a_row},
    )
    server = None
    if endpoint is not None:
        server = _checked(
            EndpointSettings,
            base_url=endpoint,
            model=model,
            key_variable=key_variable,
            concurrency=concurrency,
            timeout_seconds=timeout,
            retries=retries,
            omit=omit or (),
            length_parameter=length_parameter,
            max_failures=max_failures,
            # as vLLM and SGLang take them
            extra_body=({"chat_template_kwargs": settings.template_options} if settings.template_options else {})
            | _json_object(extra_body),
        )
    elif unused := _of_endpoints(
        omit=omit or None,
        extra_body=extra_body,
        timeout_seconds=timeout,
        retries=retries,
        length_parameter=length_parameter,
        max_failures=max_failures,
        key_variable=key_variable,
    ):
        raise ConfigError(f"{' and '.join(unused)}: these are for an --endpoint. Leave them out.")
    folder = SuiteFolder(output)
    folder.refuse_occupied(resume)
    progress = Progress(console)
    with progress.waiting("load tasks and model"):
        chosen = settings.load_tasks()
        made, settings = make_policy(settings, policy, server, window)
    folder.enter(settings, resume)
    with keeping(lambda: _kept(folder, len(chosen)), resume=True), progress.phase("evaluate"):
        report = run_suite(settings, made, folder, progress.count("bfcl", "an episode", "episodes"), window, chosen)
    for table in suite_tables(report):
        console.table(table)
    for remark in _remarks(report):
        console.say((remark, "bold yellow"))
    console.say(f"report: {folder.report}")
    console.say(f"episodes: {folder.episodes}")
    if not settings.injection.rate:
        console.say(f"for the official scorer: {output / 'result'}")


def _kept(folder: SuiteFolder, total: int) -> str:
    text = folder.episodes.read_text(encoding="utf-8") if folder.episodes.exists() else ""
    done = {record["task_id"] for record in map(json.loads, text.splitlines()) if record["end"] != End.INFRASTRUCTURE}
    return f"{len(done)} of {total} episodes are kept in '{folder.path}'."


def _remarks(report: Mapping[str, Any]) -> Iterator[str]:
    """What somebody who only looks at the figures would miss."""
    lost = report["infrastructure_failures"]
    if lost:
        yield (
            f"{lost} of {lost + report['episodes']} episodes were lost and are left out of the figures: "
            f"{counted(report['lost'])}. Try them again: {again(resume=True)}"
        )
    if remark := report.get("remark"):
        yield remark
    if 2 * report["ends"].get(End.CONTEXT_LIMIT, 0) > report["episodes"]:
        yield (
            f"{report['ends'][End.CONTEXT_LIMIT]} of {report['episodes']} episodes ended because the context was too "
            "long for the model. Give it a longer one, or --docs brief."
        )


def _json_object(text: str | None) -> dict[str, Any]:
    """The object that --extra-body holds."""
    try:
        fields = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise ConfigError(f"--extra-body '{text}' is no JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise ConfigError(f'--extra-body \'{text}\' must be a JSON object, such as {{"reasoning_effort": "low"}}.')
    return fields


def _template_option(text: str) -> tuple[str, Any]:
    """("name", value) of "name=value"; a value that is no JSON is a string."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"--template-option '{text}' must look like name=value, such as enable_thinking=false.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _checked(section: type[Any], **fields: Any) -> Any:
    """A settings object, or one message that names each wrong option."""
    try:
        return section(**fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{_option(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False)
        )
        raise ConfigError(f"The evaluation cannot be run: {problems}.") from None


def _of_endpoints(**given: Any) -> list[str]:
    """The options that were set although only an endpoint reads them."""
    fields = EndpointSettings.model_fields
    return [_option((name,)) for name, value in given.items() if value is not None and value != fields[name].default]


def _option(location: tuple[int | str, ...]) -> str:
    """The option that sets a field."""
    if location[0] == "injection":
        return "--inject-" + str(location[1]).replace("_", "-")
    field = str(location[0])
    return "--" + {"base_url": "endpoint", "timeout_seconds": "timeout"}.get(field, field).replace("_", "-")
