"""How these tests run an Ansible module: in this process, with its arguments, and its printed result as a dict."""

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from kakoi.policy import Policy, load_policy

type RunModule = Callable[..., dict[str, Any]]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's ``main``; ``check`` runs it in check mode. Diffs are always asked for."""

    def run(entry: Callable[[], None], /, *, check: bool = False, **arguments: object) -> dict[str, Any]:
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            entry()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture
def mine() -> dict[str, str]:
    """Owner and group that whoever runs the tests may give to a file."""
    return {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The reference policy."""
    return load_policy(ROOT / "policy")
