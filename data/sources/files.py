"""The files of a source behind what a person named: files as they are, folders walked."""

from collections.abc import Iterable
from pathlib import Path, PurePath

from data.errors import InputError


def expand(paths: Iterable[Path], endings: frozenset[str]) -> list[Path]:
    """The files behind `paths`, each folder's in order of name; what macOS keeps beside files is passed over.

    Args:
        paths: files, taken whatever they are called, and folders.
        endings: how names of files in folders end, or whole names.

    Raises:
        InputError: something is not there, or there is no such file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.is_file() and not of_a_mac(file.relative_to(path)))
            found += sorted(file for file in inside if ends(file, endings))
        elif path.is_file():
            found.append(path)
        else:
            msg = f"There is no file or folder {path}."
            raise InputError(msg)
    if not found:
        msg = f"No {' or '.join(sorted(endings))} file in {', '.join(map(str, paths))}."
        raise InputError(msg)
    return found


def ends(path: PurePath, endings: Iterable[str]) -> bool:
    """Whether the name ends in one of the endings (with a dot) or is one of them, in whatever case."""
    name = path.name.lower()
    return any(name.endswith(ending) if ending.startswith(".") else name == ending for ending in endings)


def of_a_mac(path: PurePath) -> bool:
    """Whether it is what macOS keeps about a file, beside it in folders and archives, under the same name."""
    return path.parts[0] == "__MACOSX" or path.name.startswith("._")
