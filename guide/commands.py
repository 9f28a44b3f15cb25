"""The reference of the command line, from the parser that the program runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from limbeck.cli.app import app


def verbs() -> Iterator[tuple[str, Any]]:
    """Return the full name of each command that does something, and its parser."""
    yield from _below("limbeck", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child in sorted(children):
        if not children[child].hidden:
            yield from _below(f"{name} {child}", children[child])


def page() -> str:
    """Return the page of all commands, in Markdown."""
    found = list(verbs())
    top = typer.main.get_command(app)
    parts = [
        "# Command line\n",
        "This page is made from the text of `--help`. "
        "Options that stand before the command hold for every command.\n",
        _table(top.params),
        *(_section(name, command) for name, command in found),
    ]
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([name, *(_metavar(a) for a in arguments), "[OPTIONS]" if options else ""]).strip()
    text = inspect.cleandoc(command.help or "").replace("\b", "").replace("\f", "")
    return "\n".join(
        [f"## {name}\n", f"```text\n{usage}\n```\n", _escape(text) + "\n", _table(arguments + options)]
    )


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += " …" if argument.nargs == -1 and not name.endswith(("…", "...")) else ""
    return name if argument.required else f"[{name}]"


def _table(params: list[Any]) -> str:
    rows = [(_names(p), getattr(p, "help", None) or "", _default(p)) for p in params if not p.hidden]
    if not rows:
        return ""
    lines = [f"| {names} | {_escape(' '.join(text.split()))} | {default} |" for names, text, default in rows]
    return "\n".join(["| name | meaning | default |", "|:--|:--|:--|", *lines, ""])


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_metavar(param)}`".replace("|", "\\|")
    return ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])


def _default(param: Any) -> str:
    value = param.default
    if param.required:
        return "required"
    if value is None or value is False or callable(value) or value in ("", [], ()):
        return ""
    return "on" if value is True else f"`{getattr(value, 'value', value)}`"


def _escape(text: str) -> str:
    """Return text whose characters Markdown would read as markup are plain."""
    for mark in "|<>[]*_":
        text = text.replace(mark, "\\" + mark)
    return text
