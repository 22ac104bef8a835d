"""Options that several commands share."""

from pathlib import Path

import click

policy_option = click.option(
    "--policy",
    "policy_directory",
    type=click.Path(path_type=Path),
    default=Path("policy"),
    show_default=True,
    help="Folder with the policy files.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
