"""`dodona.yaml`: what it may say (`settings`), where values come from (`sources`), how it is shown and explained."""

from dodona.config.settings import ClusterSettings
from dodona.config.sources import Configuration, load

__all__ = ["ClusterSettings", "Configuration", "load"]
