"""``kakoi schema``: the JSON Schema of the policy files for editors, and the reference pages of the language."""

from pathlib import Path

import click

from kakoi.errors import ExitStatus, InputError
from kakoi.policy.folder import SECTIONS_OF_FILE
from kakoi.policy.reference import reference_page
from kakoi.policy.schema import SCHEMA_FILE, as_text, policy_schema, schema_of_file


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="File to write, or folder for one schema for each file.")
@click.option("--docs", type=click.Path(path_type=Path), help="Folder to write policy.md and policy.ja.md into.")
@click.pass_context
def command(ctx: click.Context, out: Path | None, docs: Path | None) -> None:
    """Print the JSON Schema of the policy files, for editors.

    エディタ用に、ポリシーファイルの JSON Schema を出力します。

    \b
    Examples:
      kakoi schema --out docs/reference/policy.schema.json
      kakoi schema --out schemas/          (zones.schema.json, hosts.schema.json, ...)
      kakoi schema --docs docs/reference   (the reference pages)
    """  # noqa: D301 - click knows a paragraph that keeps its lines by the character \b
    try:
        if docs is not None:
            docs.mkdir(parents=True, exist_ok=True)
            _write(docs / "policy.md", reference_page("en"))
            _write(docs / "policy.ja.md", reference_page("ja"))
        if out is None:
            if docs is None:
                click.echo(as_text(policy_schema()), nl=False)
        elif out.suffix == ".json":
            out.parent.mkdir(parents=True, exist_ok=True)
            _write(out, as_text(policy_schema()))
        else:
            out.mkdir(parents=True, exist_ok=True)
            _write(out / SCHEMA_FILE, as_text(policy_schema()))
            for file in SECTIONS_OF_FILE:
                _write(out / f"{Path(file).stem}.schema.json", as_text(schema_of_file(file)))
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written: {error.strerror} / 書き込めません",
            "Name a folder that you may write to. / 書き込めるフォルダを指定してください。",
        ) from error
    ctx.exit(ExitStatus.HELD)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    click.echo(str(path), err=True)
