"""The files of a policy folder: which there are, and their text, read with every care.

All reading of the disk happens here. A file that cannot be read becomes a ``Problem``, never an exception.
"""

import difflib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kakoi.policy.problem import START, Bilingual, Place, Problem

SECTIONS_OF_FILE: Final[dict[str, tuple[str, ...]]] = {
    "enclave.yml": (),
    "zones.yml": ("zones",),
    "hosts.yml": ("hosts", "groups"),
    "services.yml": ("services",),
    "flows.yml": ("flows",),
    "assets.yml": ("assets",),
    "guarantees.yml": ("guarantees",),
}
"""Every file of a policy and its top-level keys. ``enclave.yml`` is one object with keys of its own."""
FILE_OF_SECTION: Final = {"enclave": "enclave.yml"} | {
    section: name for name, sections in SECTIONS_OF_FILE.items() for section in sections
}
OPTIONAL_SECTIONS: Final = frozenset({"groups"})
RESERVED: Final = frozenset({"exceptions.yml"})
"""Files that other parts of kakoi read; the folders ``controls/`` and ``attestations/`` are theirs too."""
MAX_BYTES: Final = 20 * 1024 * 1024


@dataclass(slots=True)
class Folder:
    """What could be read of a folder, and what is wrong with the rest."""

    texts: dict[str, str] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def read_folder(directory: Path) -> Folder:
    """Read every file of the policy."""
    folder = Folder()
    try:
        present = sorted(entry.name for entry in os.scandir(directory))
    except FileNotFoundError:
        folder.errors.append(
            _problem(directory, "the policy folder does not exist", "ポリシーのフォルダがありません", *_FOLDER_REMEDY)
        )
        return folder
    except NotADirectoryError:
        folder.errors.append(
            _problem(directory, "this is a file, not a policy folder", "フォルダではなくファイルです", *_FOLDER_REMEDY)
        )
        return folder
    except OSError as error:
        folder.errors.append(_unreadable(directory, error))
        return folder
    unknown = [name for name in present if _is_unknown(name)]
    for name in SECTIONS_OF_FILE:
        if name in present:
            _read_file(directory / name, name, folder)
        else:
            folder.errors.append(_missing(directory / name, name, unknown))
    folder.warnings += _unknown_files(directory, unknown)
    return folder


_FOLDER_REMEDY = ("Name the folder with --policy DIR.", "--policy DIR でフォルダを指定してください。")


def _is_unknown(name: str) -> bool:
    return (
        name.endswith((".yml", ".yaml"))
        and name not in SECTIONS_OF_FILE
        and name not in RESERVED
        and name[0] not in "._"
    )


def _unknown_files(directory: Path, unknown: list[str]) -> Iterator[Problem]:
    for name in unknown:
        near = difflib.get_close_matches(name, SECTIONS_OF_FILE, 1)
        remedy = (
            (f"Did you mean {near[0]}? Rename it.", f"{near[0]} ではありませんか。名前を変えてください。")
            if near
            else (
                f"Move it away; a policy is {', '.join(SECTIONS_OF_FILE)}.",
                f"別の場所へ移してください。ポリシーのファイルは {'、'.join(SECTIONS_OF_FILE)} です。",
            )
        )
        yield _problem(
            directory / name,
            f"{name} is not a file of the policy: nothing in it is used",
            f"{name} はポリシーのファイルではないため、使われません",
            *remedy,
        )


def _missing(path: Path, name: str, unknown: list[str]) -> Problem:
    near = difflib.get_close_matches(name, unknown, 1)
    sections = SECTIONS_OF_FILE[name]
    if near:
        remedy = (f"Rename {near[0]} to {name}.", f"{near[0]} を {name} に名前を変えてください。")
    elif sections:
        remedy = (
            f"Write it; for none at all write `{sections[0]}: {{}}` in it.",
            f"作成してください。一つもない場合は `{sections[0]}: {{}}` と書きます。",
        )
    else:
        remedy = (
            "Write it: body, model, guideline, tasks, administration.",
            "body、model、guideline、tasks、administration を書いて作成してください。",
        )
    return _problem(path, f"the file {name} is missing", f"ファイル {name} がありません", *remedy)


def _read_file(path: Path, name: str, folder: Folder) -> None:
    try:
        mode = path.stat()
        if stat.S_ISDIR(mode.st_mode):
            folder.errors.append(
                _problem(
                    path,
                    f"{name} is a folder, not a file",
                    f"{name} はファイルではなくフォルダです",
                    "Put a file in its place.",
                    "ファイルに置き換えてください。",
                )
            )
            return
        if not stat.S_ISREG(mode.st_mode):
            folder.errors.append(
                _problem(
                    path,
                    f"{name} is not an ordinary file",
                    f"{name} は通常のファイルではありません",
                    "Put an ordinary file in its place.",
                    "通常のファイルに置き換えてください。",
                )
            )
            return
        if mode.st_size > MAX_BYTES:
            folder.errors.append(_too_large(path, mode.st_size))
            return
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        folder.errors.append(
            _problem(
                path,
                f"{name} is a link to a file that does not exist",
                f"{name} のリンク先がありません",
                "Mend the link, or put a file in its place.",
                "リンクを直すか、ファイルに置き換えてください。",
            )
        )
        return
    except OSError as error:
        folder.errors.append(_unreadable(path, error))
        return
    if len(content) > MAX_BYTES:
        folder.errors.append(_too_large(path, len(content)))
        return
    _decode(path, name, content, folder)


def _decode(path: Path, name: str, content: bytes, folder: Folder) -> None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        folder.errors.append(
            _problem(path, "the file is written in UTF-16", "ファイルが UTF-16 で書かれています", *_UTF8_REMEDY)
        )
        return
    if content.startswith(b"\xef\xbb\xbf"):
        folder.errors.append(
            _problem(
                path, "the file begins with a byte order mark (BOM)", "ファイルの先頭に BOM があります", *_UTF8_REMEDY
            )
        )
        return
    try:
        folder.texts[name] = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        place = Place(len(line), len(line[-1]) + 1)
        guess = _encoding_guess(content)
        folder.errors.append(
            _problem(
                path,
                f"byte 0x{content[error.start]:02x} is not UTF-8{f'; the file looks like {guess}' if guess else ''}",
                f"バイト 0x{content[error.start]:02x} は UTF-8 ではありません{f'（{guess} のようです）' if guess else ''}",
                *_UTF8_REMEDY,
                place=place,
            )
        )


_UTF8_REMEDY = ("Save it as UTF-8 without a byte order mark.", "BOM なしの UTF-8 で保存してください。")


def _encoding_guess(content: bytes) -> str:
    for encoding, name in (("cp932", "Shift_JIS"), ("euc_jp", "EUC-JP")):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return name
    return ""


def _too_large(path: Path, size: int) -> Problem:
    limit = MAX_BYTES // 1024 // 1024
    return _problem(
        path,
        f"the file has {size / 1024 / 1024:.1f} MiB; the limit is {limit} MiB",
        f"ファイルが {size / 1024 / 1024:.1f} MiB あります（上限 {limit} MiB）",
        "Check how the file was made; 10,000 hosts fit into 4 MiB.",
        "ファイルの作り方を確認してください。1万台のホストでも 4 MiB に収まります。",
    )


def _unreadable(path: Path, error: OSError) -> Problem:
    reason = error.strerror or type(error).__name__
    return _problem(
        path,
        f"it cannot be read: {reason}",
        f"読めません: {reason}",
        "Let the user who runs kakoi read it.",
        "kakoi を実行する利用者が読めるようにしてください。",
    )


def _problem(path: Path, en: str, ja: str, *remedy: str, place: Place = START) -> Problem:
    return Problem(str(path), place.line, place.column, "", Bilingual(en, ja), Bilingual(*remedy))
