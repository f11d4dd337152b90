"""Hide from the parser the parts of a cell that IPython runs beside Python, and show them again."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from adamcompat.translation.source import parse

TOO_DEEP = "nested too deeply to be read"
# Lines that IPython runs itself: magics, shell commands, help; and assignments from them.
_MAGIC = re.compile(r"^(\s*)(?:[%!?]|[\w.]+\?{1,2}\s*$|[\w, ]+=\s*[%!])")
_HELP = re.compile(r"^\s*\?|\?\s*$")
# A magic without its sign, such as `pip install keras`: two words that no operator joins.
_AUTOMAGIC = re.compile(r"^\s*([A-Za-z_]\w*)(\s+[^\s=(\[,:].*)?$")
_CELL_MAGIC = re.compile(r"%%([\w.]+)[ \t]*(.*)")
_LINE_MAGIC = re.compile(r"^(\s*)%(\w+)[ \t]+")
_OPTION, _WORD = re.compile(r"[ \t]+(-\S+)"), re.compile(r"[ \t]+\S+")
# Magics of lines and cells whose code is Python that runs here, with their options that take a value.
_HERE = {
    "time": "",
    "timeit": "nrp",
    "prun": "DlsT",
    "capture": "",
    "memit": "rt",
    "mprun": "fT",
    "lprun": "fmTDuw",
    "backend": "",
    "debug": "b",
    "pyinstrument": "",
    "scalene": "",
    "snakeviz": "f",
    "memray_flamegraph": "",
    "ipytest": "",
    "wandb": "",
}
_ONLY_CELLS = ("capture", "backend", "ipytest", "wandb")
# What stands in the first line of these cells is code, too.
_SETUP = ("timeit", "memit", "prun")
# How many lines without a sign may be hidden, one after the other.
_MANY = 100
# Programs of their own, and text that is shown.
_PROGRAMS = ("python", "python3", "pypy", "pypy3")
_SHOWN = ("html", "markdown", "latex", "svg", "javascript", "js", "css")


@dataclass
class Cell:
    """Hold the source of a code cell, as Python.

    Attributes:
        program: the program that it is a part of: "" for the notebook, else the name of a file or process; None where
            nothing of it is Python.
        head: the lines in front of the code.
        text: the code, with everything hidden that is no Python.
        hidden: the texts that are hidden, in their order.
        block: whether the code stands in a block, because all of it is indented.
        shifts: line of the text, counted from 1, to how many characters are hidden in front.
        unread: the lines of the cell that are not read as Python, with their numbers, counted from 1.
        problem: the reason why the code does not parse, or None.
    """

    program: str | None
    head: str = ""
    text: str = ""
    hidden: list[str] = field(default_factory=list)
    block: bool = False
    shifts: dict[int, int] = field(default_factory=dict)
    unread: list[tuple[int, str]] = field(default_factory=list)
    problem: SyntaxError | None = None

    def line(self, number: int) -> int:
        """Return the line of the cell in which a line of the text stands; both are counted from 1."""
        return number + self.head.count("\n") - self.block


def problem(text: str) -> SyntaxError | None:
    """Return the error that says why some text is not valid Python, or None where it is.

    Args:
        text: any text.
    """
    try:
        parse(text)
    except SyntaxError as found:
        return found
    except (RecursionError, MemoryError):
        return SyntaxError(TOO_DEEP)
    except ValueError as found:
        return SyntaxError(str(found))
    return None


def read(source: str, mark: str, name: str) -> Cell:
    """Read the source of a code cell.

    Args:
        source: the text of the cell.
        mark: a text that no cell holds.
        name: what to call the cell, if it is a program of its own.

    Returns:
        The cell as Python. Where it does not parse, its `problem` says why.

    >>> cell = read("%%time\\n%prun -l 5 f(x)\\n!ls", "mark", "cell 1")
    >>> cell.head, cell.text
    ('%%time\\n', 'f(x)  # mark:p0\\npass  # mark:h1')
    >>> show(cell, cell.text, "mark")
    '%%time\\n%prun -l 5 f(x)\\n!ls'
    """
    cell, rest, setup = Cell(""), source, None
    while setup is None and (match := _CELL_MAGIC.match(rest, len(rest) - len(rest.lstrip()))):
        program = _program(match[1], match[2].split(), name)
        line, newline, below = rest[match.start() :].partition("\n")
        if program is None:
            shown = match[1].lower() in _SHOWN
            first = source.count("\n") - below.count("\n") + 1
            return Cell(None, source, unread=[] if shown else list(enumerate(below.split("\n"), first)))
        cell.program = program or cell.program
        setup = _code(line.rstrip("\r"), 2, match[1]) if match[1] in _SETUP else None
        cell.head += rest[: match.start()] + ("" if setup is not None else line + newline)
        rest = rest[match.start() :] if setup is not None else below
    if setup is not None:
        line, newline, below = rest.partition("\n")
        code = line[setup:].rstrip("\r")
        rest = f"{code}  # {mark}:p0{line[setup + len(code) :]}{newline}{below}"
        return _parse(cell, rest, [line[:setup]], {1: setup}, mark)
    return _parse(cell, rest, [], {}, mark)


def _program(magic: str, words: list[str], name: str) -> str | None:
    """Return the program that the code of a cell magic is a part of; "" is the notebook, None is no Python."""
    if magic in _HERE or (magic == "px" and "--local" in words):
        return ""
    if magic == "px":
        return "px"
    if magic in ("writefile", "file"):
        file = words[-1].strip("'\"") if words else ""
        return file if file.endswith(".py") else None
    return name if magic in _PROGRAMS or (magic == "script" and words[:1] and words[0].startswith(_PROGRAMS)) else None


def _parse(cell: Cell, body: str, kept: list[str], shifts: dict[int, int], mark: str) -> Cell:
    """Hide the parts that are no Python, as few as possible: nothing, then magics, then lines that do not parse.

    Args:
        cell: gets the code.
        body: the code.
        kept: the texts that are hidden already.
        shifts: as in `Cell`, for the texts that are hidden already.
        mark: a text that no cell holds.

    Returns:
        The same cell.
    """
    lines = body.split("\n")
    magics = {number for number, line in enumerate(lines) if _MAGIC.match(line)}
    wanted: set[int] = set()

    def parses(wanted: Collection[int]) -> bool:
        cell.hidden, cell.shifts, cell.unread = list(kept), dict(shifts), []
        return _try(cell, _hide(cell, lines, wanted, mark), mark)

    if parses(()) or (magics and parses(magics)):
        return cell
    for _ in range(_MANY):
        if parses(wanted):
            break
        failed = cell.problem.lineno if cell.problem is not None else None
        number = (failed or 0) - 1
        found = lines[number] if 0 <= number < len(lines) else ""
        if number in wanted or not (_MAGIC.match(found) or _is_automagic(found)):
            break
        wanted.add(number)
    return cell


def _try(cell: Cell, lines: Iterable[str], mark: str) -> bool:
    """Return whether some lines parse as they are, or as a block, if all of them are indented."""
    text = "\n".join(lines)
    cell.text, cell.block, cell.problem = text, False, problem(text)
    if cell.problem is not None and text.lstrip("\r\n")[:1] in (" ", "\t"):
        block = f"if '{mark}':\n{text}"
        if problem(block) is None:
            cell.text, cell.block, cell.problem = block, True, None
            cell.shifts = {number + 1: shift for number, shift in cell.shifts.items()}
    return cell.problem is None


def _is_automagic(line: str) -> bool:
    match = _AUTOMAGIC.match(line)
    return match is not None and not keyword.iskeyword(match[1]) and match[1] not in ("print", "exec")


def _hide(cell: Cell, lines: list[str], wanted: Collection[int], mark: str) -> list[str]:
    """Return lines as Python; of those that are hidden stands their code with a remark, or a placeholder."""
    found = list(lines)
    continued = False
    for number, line in enumerate(lines):
        if continued:
            found[number] = f"# {mark}:h{len(cell.hidden)}"
        elif number in wanted:
            end = "\r" if line.endswith("\r") else ""
            match = _LINE_MAGIC.match(line)
            start = _code(line.rstrip("\r"), 1, match[2]) if match and match[2] not in _ONLY_CELLS else None
            indent = line[: len(line) - len(line.lstrip())]
            if start is not None:
                code = line[start : len(line) - len(end)]
                found[number] = f"{indent}{code}  # {mark}:p{len(cell.hidden)}{end}"
                cell.shifts[number + 1] = start - len(indent)
                cell.hidden.append(line[len(indent) : start])
                continue
            found[number] = f"{indent}pass  # {mark}:h{len(cell.hidden)}"
        else:
            continue
        cell.hidden.append(line)
        if not _HELP.search(line):
            cell.unread.append((cell.line(number + 1), line))
        continued = line.rstrip().endswith("\\")
    return found


def _code(line: str, signs: int, magic: str) -> int | None:
    """Return the position where the code of a magic's line begins, or None where it has no Python."""
    if magic not in _HERE:
        return None
    start = len(line) - len(line.lstrip()) + signs + len(magic)
    while match := _OPTION.match(line, start):
        start = match.end()
        option = match[1]
        if option == "--":
            break
        if len(option) == 2 and option[1] in _HERE[magic] and (value := _WORD.match(line, start)):
            start = value.end()
    start += len(line[start:]) - len(line[start:].lstrip())
    code = line[start:]
    return start if code.strip() and not code.endswith("\\") and problem(code) is None else None


def show(cell: Cell, text: str, mark: str) -> str:
    """Return the source of a cell with everything that `read` has hidden.

    Args:
        cell: the cell, as it was read.
        text: its text now.
        mark: the mark that it was read with.

    Returns:
        The source, with `text` in place of the text that was read.
    """
    if cell.block:
        text = text.removeprefix(f"if '{mark}':\n")
    whole = re.compile(rf"^[ \t]*(?:pass  )?# {re.escape(mark)}:h(\d+)(?=\r?$)", re.MULTILINE)
    part = re.compile(rf"^([ \t]*)(.*)  # {re.escape(mark)}:p(\d+)(?=\r?$)", re.MULTILINE)
    text = part.sub(lambda match: f"{match[1]}{cell.hidden[int(match[3])]}{match[2]}", text)
    return cell.head + whole.sub(lambda match: cell.hidden[int(match[1])], text)
