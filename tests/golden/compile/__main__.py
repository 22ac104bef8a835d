"""``python -m tests.golden.compile --update``: compile every golden case anew; review the result as a diff."""

import shutil
import sys

from kakoi.compile.nftables import rulesets

from .cases import CASES, FOLDER, golden_policy


def _update(case: str) -> int:
    folder = FOLDER / case / "expected"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = dict(rulesets(golden_policy(case)))
    for host, text in files.items():
        (folder / f"{host}.nft").write_text(text, encoding="utf-8")
    return len(files)


if sys.argv[1:] != ["--update"]:
    sys.exit(__doc__)
for name in CASES:
    sys.stdout.write(f"{name}: {_update(name)} files\n")
