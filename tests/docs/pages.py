"""The pages of the documentation, the commands on them, and a machine on which the commands of a page can be run."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).resolve().parents[2]
# The one in which the tests run: in a checkout, .venv.
ENVIRONMENT: Final = Path(sys.prefix)
SHELL: Final = frozenset({"sh", "bash", "shell", "console", "zsh"})
PYTHON: Final = frozenset({"python", "py"})
# What the project consists of, as far as a command of a page may need it.
_CHECKOUT: Final = ("benchmarks", "cards", "cds_service", "docs", "openapi.yaml", "pyproject.toml", "Makefile")
_SECONDS: Final = 120


@dataclass(frozen=True)
class Block:
    """Something fenced on a page: in which language, and what the page shows below it as its output."""

    page: str
    line: int
    language: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page that people read, by its path."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """What is fenced, or indented as code, on a page."""
    tokens = MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))
    found: list[Block] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in ("fence", "code_block"):
            continue
        language = token.info.strip().partition(" ")[0]
        if language == "text" and before is not None and before.type == "fence" and found:
            last = found.pop()
            shown = tuple(line.strip() for line in token.content.splitlines() if line.strip())
            found.append(Block(last.page, last.line, last.language, last.text, shown))
        else:
            found.append(Block(page, (token.map or [0])[0] + 1, language, token.content))
    return tuple(found)


# --- running them ---------------------------------------------------------------------------------

# A page tells a person what to type. A machine that types it needs another port than one that may be taken, does not
# wait for Ctrl-C, and has no second terminal.
_SERVER: Final = re.compile(r"^(?P<command>.*cds-service (?:serve|demo)\b[^#&\n]*?)\s*(?:&\s*)?(?:#.*)?$", re.MULTILINE)
_EXIT_CODE: Final = re.compile(r"^(?P<command>\S.*?)\s+# exit code (?P<code>\d+)\b.*$", re.MULTILINE)
# What would change the machine itself, or needs more than a folder of one's own. It is refused before anything is run.
_OF_THE_MACHINE: Final = re.compile(
    r"(?<![\w.}])/(?:etc|opt|root|srv|usr|var)/"
    r"|\b(?:sudo|su|systemctl|journalctl|apt|apt-get|docker|podman|kubectl|helm|install|mount|chown|rm|psql|pg_restore)\s"
)
_MARK: Final = "@@ block "
_BEGIN: Final = r"""
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT
listens() {
  while kill -0 $! 2>/dev/null; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "it has stopped"; cat server.log; return 1
}
ends_with() { local code=0; "${@:2}" || code=$?; [ "$code" = "$1" ] || { echo "exit code $code, not $1"; return 1; }; }
"""


def copy_checkout(folder: Path) -> Path:
    """A copy of the checkout, whose modules are compiled once for all pages."""
    for name in _CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def environment_in(folder: Path) -> Path:
    """The real environment as a folder of its own, in which one program can be another."""
    real, own = ENVIRONMENT, folder / ".venv"
    (own / "bin").mkdir(parents=True)
    (own / "lib").symlink_to(real / "lib")
    shutil.copy2(real / "pyvenv.cfg", own)
    for program in (real / "bin").iterdir():
        (own / "bin" / program.name).symlink_to(program)
    return own


class Machine:
    """A checkout with the real environment, in which the commands of one page are run, in their order."""

    def __init__(self, folder: Path, checkout: Path, environment: Path, *, changes_it: bool) -> None:
        self._folder = folder
        (folder / ".venv").symlink_to(environment)
        self._ports = {port: _free_port() for port in ("8000", "8001", "8090")}
        for path in checkout.iterdir():
            if changes_it and path.is_dir():
                shutil.copytree(path, folder / path.name)
            else:
                (folder / path.name).symlink_to(path)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "CHROMIUM") if name in os.environ}
        self._environment = {
            **kept,
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(folder),  # the commands are those of the copy, which a page may change
            "PYTHONUTF8": "1",
        }

    def run(self, page: str, told: tuple[Block, ...], changed: Mapping[str, str]) -> None:
        """Runs what is told, in one shell. Fails where a command fails, or does not print what the page shows."""
        for block in told:
            assert not _OF_THE_MACHINE.search(block.text), f"{block.place}: not to be run here; see NOT_RUN"
        script = [_BEGIN, *(self._as_typed(block, changed) for block in told)]
        done = subprocess.run(
            ["/bin/bash", "-c", "\n".join(script)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        printed = done.stdout.split(_MARK)[1:]
        at = told[len(printed) - 1].place if printed else page
        assert done.returncode == 0, f"{at}: exit code {done.returncode}\n{printed[-1] if printed else done.stdout}"
        for block, output in zip(told, printed, strict=True):
            missing = [line for line in block.shown if _in_a_row(line) not in _in_a_row(output)]
            assert not missing, f"{block.place}: the page shows {missing}, and this was printed:\n{output}"

    def _as_typed(self, block: Block, changed: Mapping[str, str]) -> str:
        text = block.text
        for shown, real in changed.items():
            text = text.replace(shown, real)
        if block.language in PYTHON:
            text = f".venv/bin/python - <<'PYTHON'\n{text}\nPYTHON"
        return f"echo; echo '{_MARK}'\n{self._typed(text)}"

    def _typed(self, text: str) -> str:
        text = _EXIT_CODE.sub(r"ends_with \g<code> \g<command>", text)
        text = _SERVER.sub(self._serving, text)
        text = re.sub(r"(sekmet serve[^&\n]*)&.*", r"\1 --port 8090 >server.log 2>\&1 &\nlistens 8090", text)
        for shown, real in self._ports.items():
            text = re.sub(rf"(?<=[ :]){shown}\b", real, text)
        return text

    @staticmethod
    def _serving(found: re.Match[str]) -> str:
        command = found["command"]
        port = (re.search(r"--port (\d+)", command) or ["", "8000"])[1]
        if "--port" not in command:
            command += f" --port {port}"
        return f"{command} >server.log 2>&1 &\nlistens {port}"


def _in_a_row(text: str) -> str:
    """Where a terminal breaks a line is no matter."""
    return " ".join(text.split())


def _free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def inline(page: str) -> Iterator[str]:
    """What stands between backticks within a sentence of a page."""
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content
