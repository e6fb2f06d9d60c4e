"""Every Python of a test run under a shifted clock imports this first: the store's clock is not shifted.

SeaweedFS asks the kernel for the time itself, which no library in between can change, and refuses what is signed at
another time than its own. So requests are signed at its time, and the times that it tells are shifted.
"""

import importlib.abc
import importlib.util
import os
import sys
from datetime import timedelta
from types import SimpleNamespace

SHIFT = timedelta(seconds=int(os.environ.get("FAKETIME") or 0))


def _sign_at_its_time(module):
    given = module.get_current_datetime
    module.get_current_datetime = lambda *args, **named: given(*args, **named) - SHIFT


def _read_its_times(module):
    given = module.DEFAULT_TIMESTAMP_PARSER
    module.DEFAULT_TIMESTAMP_PARSER = lambda value: given(value) + SHIFT


def _leave_redis_alone(module):
    """It asks for the time before libfaketime is ready, and never comes up. What it keeps for Celery has no times."""
    given = module.start

    def start(state, name, services, folder, **named):
        alone = SimpleNamespace(redis=services.redis, environment={**services.environment, "LD_PRELOAD": ""})
        given(state, name, alone, folder, **named)

    module.start = start


_CHANGED = {
    "botocore.auth": _sign_at_its_time, "botocore.parsers": _read_its_times, "relight.lab.redis": _leave_redis_alone,
}  # fmt: skip


class _Finder(importlib.abc.MetaPathFinder):
    """Changes a module when something imports it, so that nobody pays for it who does not."""

    def find_spec(self, name, path, target=None):
        change = _CHANGED.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change
        return spec


sys.meta_path.insert(0, _Finder())
