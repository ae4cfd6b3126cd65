"""Checks all settings before a local platform starts: `sluice up`, `sluice run` and `sluice doctor` use it.

On a cluster, the readiness probe reads the files of environments and policies, and a function reads every other file
when it first needs it, which keeps cold starts short. On a laptop a person watches the start, so all files are read
then and a mistake is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.settings import Settings
    from functions.workflow.environment import Environment


def check_settings(environments: str = "ENVIRONMENTS_FILE") -> None:
    """Raise SettingsError if a setting, or a file that one names, is wrong.

    `environments`: what messages call the environments file.
    """
    from functions.engine import sweep_settings
    from functions.environments import load
    from functions.local.generated_keys import SIGNING_KEY
    from functions.settings import Settings

    settings = Settings.load()
    sweep_settings.check(settings)
    if settings.legacy.keys() & SIGNING_KEY:  # otherwise the platform makes a key
        sweep_settings.check_signer(settings)
    _check_policies(settings, load(settings, called=environments).values())
    sweep_settings.signing_keys(settings)
    _check_tokens(settings)


def _check_policies(settings: Settings, environments: Iterable[Environment]) -> None:
    from functions.policies import check_named, load

    check_named(load(settings.policies_file), environments)


def _check_tokens(settings: Settings) -> None:
    if settings.tes_tokens_file:
        from functions.api.auth import tokens

        tokens.check(settings.tes_tokens_file)
    if settings.oidc_issuer:
        from functions.api.auth import oidc

        oidc.check(settings)
