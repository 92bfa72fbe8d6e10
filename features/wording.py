"""Features as a person says them. The words are in `wording.toml`; nothing here knows an attribute by name."""

import csv
import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from math import isfinite
from typing import Any, Final

_SMART: Final = re.compile(r"smart_(?P<attribute>\d+)(?:_(?P<form>[a-z_]+?)(?:_(?P<days>\d+)d)?)?")
_WHOLE_FROM: Final = 100
_DAYS_SINCE: Final = re.compile(r"\b1 days\b")


@lru_cache(maxsize=4_096)
def reason(feature: str, value: float | None) -> str:
    """The feature's value as a noun phrase, such as `8 more pending sectors than a week ago`; null: it is not known.

    A feature that has no words yet is said by its name.
    """
    words = _words()
    smart = _SMART.fullmatch(feature)
    if smart is None:
        return _phrase(words["forms"].get(feature) or _plain(feature), value, {})
    attribute, form, days = smart["attribute"], smart["form"] or "value", smart["days"]
    if form == "value" and attribute in words["measures"]:
        measure = {"plain": words["measures"][attribute], "missing": f"an unknown {_name(attribute)}"}
        return _phrase(measure, value, {})
    if form not in words["forms"]:
        return _phrase(_plain(feature), value, {})
    noun = words["nouns"].get(attribute) or dict.fromkeys(("one", "many"), _name(attribute))
    return _phrase(words["forms"][form], value, _span(days) | noun)


def evidence(feature: str) -> str:
    """The piece of evidence that a feature is about: its attribute, or what the words file lists it under.

    Features about the same piece say it in other words; a feature that is not listed is a piece of its own.
    """
    smart = _SMART.fullmatch(feature)
    return f"smart_{smart['attribute']}" if smart else _pieces().get(feature, feature)


def summary(piece: str) -> str | None:
    """The feature that sums a piece of evidence up, where there is one."""
    listed = _words()["evidence"].get(piece)
    return listed.get("summary") if listed else None


def counted(piece: str) -> str:
    """What a piece of evidence counts or measures, as a heading, such as `pending sectors`."""
    smart = _SMART.fullmatch(piece)
    if smart is None:
        return piece.replace("_", " ")
    noun = _words()["nouns"].get(smart["attribute"])
    return str(noun["many"]) if noun else _name(smart["attribute"])


def shared(piece: str) -> bool:
    """Whether a piece of evidence points to something that the parts of a host share, such as a cable or the air."""
    return piece in _words()["shared"]["pieces"]


def _phrase(forms: dict[str, str], value: float | None, parts: dict[str, str]) -> str:
    if value is None or not isfinite(value):
        return forms["missing"].format(**parts)
    if f"{value:g}" in forms:
        return forms[f"{value:g}"]
    kind = "zero" if value == 0 else "below" if value < 0 else "plain"
    noun = parts.get("one" if abs(value) == 1 else "many", "")
    said = _number(-value if kind == "below" and kind in forms else value)
    return _DAYS_SINCE.sub("1 day", forms.get(kind, forms["plain"]).format(value=said, noun=noun, **parts))


def _span(days: str | None) -> dict[str, str]:
    if days is None:
        return {}
    said: dict[str, str] = _words()["spans"].get(days) or {"long": f"{days} days", "ago": f"{days} days ago"}
    return said | {"days": days}


def _number(size: float) -> str:
    return f"{size:,.0f}" if size == int(size) or abs(size) >= _WHOLE_FROM else f"{size:.3g}"


def _plain(feature: str) -> dict[str, str]:
    said = feature.replace("_", " ").replace("{", "{{").replace("}", "}}")
    return {"plain": f"{said} {{value}}", "missing": f"unknown {said}"}


@cache
def _words() -> dict[str, Any]:
    words: dict[str, Any] = tomllib.loads(files("features").joinpath("wording.toml").read_text(encoding="utf-8"))
    return words


@cache
def _pieces() -> dict[str, str]:
    return {feature: piece for piece, listed in _words()["evidence"].items() for feature in listed["features"]}


@cache
def _names() -> dict[str, str]:
    lines = files("data").joinpath("smart_attributes.csv").read_text(encoding="utf-8").splitlines()
    return {row["attribute"]: row["name"].replace("_", " ") for row in csv.DictReader(lines)}


def _name(attribute: str) -> str:
    return _names().get(attribute, f"attribute {attribute}")
