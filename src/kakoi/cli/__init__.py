"""The command line: one file for each command, loaded only when it is called."""

import importlib
import os
import sys
from typing import Any, override

import click

from kakoi.errors import ExitStatus, KakoiError

_COMMANDS = {
    "check": ("kakoi.cli.check", "Validate the policy / ポリシーを検証する"),
    "compile": ("kakoi.cli.compile", "Write every host's files / 各ホストのファイルを生成する"),
    "matrix": ("kakoi.cli.matrix", "Show who may talk to whom / 許可通信の表"),
    "schema": ("kakoi.cli.schema", "Print the JSON Schema of the policy files / ポリシーのJSON Schema"),
    "lab": ("kakoi.cli.lab", "Build, look at and remove the lab / ラボの構築と撤去"),
    "verify": ("kakoi.cli.verify", "Ask the network itself / 実機で疎通と遮断を確かめる"),
    "observe": ("kakoi.cli.observe", "Read what the machines really run / 実機の状態を読み取る"),
    "demo": ("kakoi.cli.demo", "Lab, provisioning, proof and evidence in one go / 一括実演"),
    "test": ("kakoi.cli.test", "Run every test / 全テストを実行する"),
    "prove": ("kakoi.cli.prove", "Prove every guarantee / すべての保証を証明する"),
    "explain": ("kakoi.cli.explain", "Explain one connection / 一つの通信を説明する"),
    "diff": ("kakoi.cli.diff", "Connections gained and lost / 通信の増減を比べる"),
    "ruleset": ("kakoi.cli.ruleset", "Decide, map and compare any nftables ruleset / ルールセットの判定"),
}


_ADMINISTRATORS_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class _LazyGroup(click.Group):
    """Imports a command's module when the command is called, so that ``kakoi check`` starts at once."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kakoi")
def cli() -> None:
    """kakoi (囲い): a closed enclave from one written policy, and the proof that it is closed.

    \b
    Exit status: 0 held, 1 something does not hold, 2 the input is wrong, 3 could not find out.

    \b
    Example:
      kakoi check --policy policy
    """  # noqa: D301 - click knows a paragraph that keeps its lines by the character \b


def _find_administrators_programs() -> None:
    """Put the folders of nft, ip and their like on the path: `su` on Debian leaves them off."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    missing = [folder for folder in _ADMINISTRATORS_FOLDERS if folder not in folders]
    os.environ["PATH"] = os.pathsep.join([*folders, *missing])


def main() -> Any:  # noqa: ANN401 - click's own return value
    """Run the command line; an expected failure ends in one message and its exit status."""
    _find_administrators_programs()
    try:
        return cli.main(prog_name="kakoi", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted. / 中断しました。", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitStatus.INPUT_WRONG)
    except KakoiError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitStatus.HELD)
