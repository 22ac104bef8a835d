"""Draw what a terminal showed as SVG: ``terminal_picture.py TITLE < screen.ansi > picture.svg``.

The picture names no font server and holds no script: it shows in a closed network.
"""

import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_FONTS = "'DejaVu Sans Mono', 'Noto Sans Mono CJK JP', 'IPAGothic', monospace"


def picture(screen: str, title: str) -> str:
    """SVG of a screen full of text with ANSI colours."""
    lines = [Text.from_ansi(line.rstrip()) for line in screen.rstrip().splitlines()]
    width = max(cell_len(line.plain) for line in lines)
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
    drawn = re.sub(r"@font-face\s*\{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    drawn = drawn.replace("font-family: Fira Code, monospace", f"font-family: {_FONTS}")
    return console.export_svg(title=title, theme=MONOKAI, code_format=drawn, unique_id="terminal")


if __name__ == "__main__":
    sys.stdout.write(picture(sys.stdin.read(), sys.argv[1]))
