"""The typed configurations: TOML in, validated before torch is imported.

Help text stands once, under each field; the configuration reference (`fissile config`) is made from it.
"""

from fissile.config.engine import EngineConfig, WorldConfig
from fissile.config.loading import Section, fields_of, section_of
from fissile.config.run_config import (
    ColdStartConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    SupervisedConfig,
    TasksConfig,
    TrainingConfig,
    load_config,
    parse_config,
)
from fissile.config.simulator_recipe import SimulatorRecipe, load_simulator_recipe

__all__ = [
    "ColdStartConfig",
    "EngineConfig",
    "EvaluationConfig",
    "ModelConfig",
    "RunConfig",
    "Section",
    "SimulatorRecipe",
    "SupervisedConfig",
    "TasksConfig",
    "TrainingConfig",
    "WorldConfig",
    "fields_of",
    "load_config",
    "load_simulator_recipe",
    "parse_config",
    "section_of",
]
