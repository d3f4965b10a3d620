"""Who is evaluated: the policy that the options of `fissile eval bfcl` name."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fissile.dialects import Dialect, get_dialect
from fissile.engines.base import longest_input
from fissile.engines.endpoint_policy import EndpointPolicy
from fissile.engines.endpoint_settings import EndpointSettings
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, RandomPolicy, StubbornPolicy
from fissile.errors import ConfigError
from fissile.evaluation.suite import NATIVE, SuiteSettings

logger = logging.getLogger(__name__)

SCRIPTED: dict[str, Callable[[Dialect], Policy]] = {
    "oracle": OraclePolicy,
    "corrupted_oracle": CorruptedOraclePolicy,
    "stubborn": lambda dialect: StubbornPolicy(dialect, give_up_after=3),
    "random": RandomPolicy,
}
"""Policies that follow a script, by name: the measuring rods of the suite."""


def make_policy(
    settings: SuiteSettings, scripted: str | None, server: EndpointSettings | None, window: int
) -> tuple[Policy, SuiteSettings]:
    """The policy, and the settings with what it decides: a local model limits the context.

    Raises:
        ConfigError: an adapter without a local model, or an unknown scripted policy.
        ModelError: the model cannot be loaded.
    """
    if settings.adapter is not None and (scripted is not None or server is not None):
        raise ConfigError("--adapter goes on top of a local model. Leave it out with --policy and --endpoint.")
    if scripted is not None:
        if scripted not in SCRIPTED:
            raise ConfigError(f"There is no scripted policy '{scripted}'. Choose one of {', '.join(SCRIPTED)}.")
        return SCRIPTED[scripted](_text_dialect(settings)), settings
    if server is not None:
        return EndpointPolicy(server, None if settings.dialect == NATIVE else _text_dialect(settings)), settings
    return _local(settings, window)


def _text_dialect(settings: SuiteSettings) -> Dialect:
    if settings.dialect == NATIVE:
        raise ConfigError("--dialect native is for an --endpoint. Name a text dialect.")
    return get_dialect(settings.dialect)


def _local(settings: SuiteSettings, window: int) -> tuple[Policy, SuiteSettings]:
    """A model in this process. Torch is imported here and nowhere before."""
    from fissile.config import EngineConfig, ModelConfig  # noqa: PLC0415
    from fissile.dialects import ChatFormat  # noqa: PLC0415
    from fissile.engines.token_policy import TokenPolicy  # noqa: PLC0415
    from fissile.training.engine_choice import Engines, affordable_tokens  # noqa: PLC0415
    from fissile.training.policy_model import load_model, load_policy, load_tokenizer, other_format  # noqa: PLC0415
    from fissile.training.run import quieten_libraries  # noqa: PLC0415

    quieten_libraries()
    chat = ChatFormat(load_tokenizer(settings.policy), _text_dialect(settings), settings.template_options)
    if settings.adapter and (warning := other_format(settings.adapter, settings.policy, chat)):
        logger.warning("%s", warning)
    config = ModelConfig(path=settings.policy)
    model = load_policy(config, settings.adapter) if settings.adapter else load_model(config.path, config.dtype)
    asked, settings = settings.context_tokens, settings.within(longest_input(model.config))
    if asked is not None and asked != settings.context_tokens:
        logger.warning("--context-tokens %d is more than the model reads: %d it is.", asked, settings.context_tokens)
    remembered = min(window * (settings.context_tokens or 4096), affordable_tokens(model))
    engines = Engines(EngineConfig(max_rows=window, remembered_tokens=remembered))
    return TokenPolicy(chat, engines.over(model, chat, remember=True)), settings
