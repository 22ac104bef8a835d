"""Options that several commands share."""

import os
from pathlib import Path

import click

from kakoi.errors import InputError


def project_root() -> Path:
    """The folder with the playbooks, roles and policy that this command works in.

    The launcher tells it; otherwise it is the nearest folder upwards that has ``ansible.cfg`` and ``policy/``.

    Raises:
        InputError: the command was started outside a kakoi project.
    """
    told = os.environ.get("KAKOI_HOME")
    candidates = [Path(told)] if told else [Path.cwd(), *Path.cwd().parents]
    for folder in candidates:
        if (folder / "ansible.cfg").is_file() and (folder / "policy").is_dir():
            return folder
    raise InputError(
        f"{candidates[0]} is not a kakoi project", "change to the folder that holds ansible.cfg and policy/"
    )


policy_option = click.option(
    "--policy",
    "policy_directory",
    type=click.Path(path_type=Path),
    default=Path("policy"),
    show_default=True,
    help="Folder with the policy files.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
inventory_option = click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    default=Path("inventories/lab"),
    show_default=True,
    help="Ansible inventory: the lab's, or your own.",
)
