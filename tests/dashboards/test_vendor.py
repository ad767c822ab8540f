"""What Grafana's own published libraries say of the boards; no Grafana server is here to be asked.

In Python: the Foundation SDK's classes and its list of units. In Node: a JSON schema made of the types of
`@grafana/schema`, and `@grafana/data`, with which Grafana formats values and transforms tables.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from grafana_foundation_sdk.models import units

from agent_exporter.lint import Lexicon, RuleFile, learn
from agent_exporter.lint.promql import read
from dashboards.boards import DASHBOARDS, NAMES, board, filled, panels

VENDOR = Path(__file__).parent / "vendor"
CACHE = VENDOR.parents[2] / ".cache"
KNOWN = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}

DAMAGE = (
    (("schemaVersion",), "42"),
    (("refresh",), 60),
    (("panels", 1, "gridPos", "w"), "wide"),
    (("panels", 1, "options", "colourMode"), "value"),
    (("panels", 1, "options", "colorMode"), "rainbow"),
    (("panels", 1, "fieldConfig", "defaults", "units"), "s"),
    (("panels", 1, "type"), "number"),
    (("templating", "list", 1, "multi"), "yes"),
)

every_board = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def libraries(program):
    """Fetch Grafana's libraries once; another package.json fetches them anew. No scripts of theirs are run."""
    node, npm = program("node"), program("npm")
    wanted = (VENDOR / "package.json").read_bytes()
    folder = CACHE / hashlib.sha256(wanted).hexdigest()[:12]
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes(wanted)
        quiet = ("--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--no-package-lock")
        subprocess.run([npm, "install", *quiet], cwd=folder, check=True, capture_output=True, timeout=300)
        (folder / "ready").touch()
    for name in ("board.ts", "tsconfig.json", "look.mjs"):
        shutil.copy(VENDOR / name, folder)
    return node, folder


@pytest.fixture(scope="module")
def seen(libraries):
    """Return what Grafana's libraries see in our boards, and in boards that we damaged."""
    node, folder = libraries
    boards = [board(name) for name in NAMES]
    given = json.dumps({"boards": boards, "frames": frames(), "damaged": [damaged(*each) for each in DAMAGE]})
    command = [node, "look.mjs"]
    ran = subprocess.run(command, input=given, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def damaged(path, value):
    """Return the overview with another value somewhere."""
    found = deepcopy(board("agent-overview"))
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return found


def frames():
    """Say for each table which labels the answer to each of its queries has."""
    lexicon = Lexicon.of_catalog()
    learn([RuleFile.load(path) for path in sorted((DASHBOARDS.parent / "alerts" / "rules").glob("*.yml"))], lexicon)
    return {
        f"{name}/{panel['id']}": [
            {"refId": each["refId"], "labels": sorted(read(filled(each["expr"]), lexicon).labels)}
            for each in panel["targets"]
        ]
        for name, panel in tables()
    }


def tables():
    """List the tables of all boards."""
    return [(name, panel) for name in NAMES for panel in panels(name) if panel["type"] == "table"]


def used(node):
    """Give every unit that a part of a board names."""
    if isinstance(node, dict):
        if "unit" in node:
            yield node["unit"]
        if node.get("id") == "unit":
            yield node["value"]
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from used(part)


@every_board
def test_classes_read_back_all_that_is_written(name):
    """2: Grafana's classes know every key of a board: reading and writing it loses nothing."""
    code = "import sys; sys.path[0] = sys.argv[1]; from source import sdk; print(sdk.write(sdk.read(sys.stdin.read())))"
    text = (DASHBOARDS / f"{name}.json").read_text(encoding="utf-8")
    command = [sys.executable, "-c", code, str(DASHBOARDS)]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True)

    assert list(lost(json.loads(text), json.loads(ran.stdout))) == []


def lost(before, after, place=""):
    """Name what is not there any more, or is another; what the classes add is their default."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{place}/{key}") if key in after else [f"{place}/{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}/{index}")
    elif before != after:
        yield place


@every_board
def test_units_are_known(name):
    """6: every unit is one of the ids that Grafana lists; another one would be printed as a word."""
    assert len(KNOWN) > 200
    assert set(used(board(name)["panels"])) - KNOWN == set()


@pytest.mark.timeout(400)
def test_boards_fit_the_schema(seen):
    """2: nothing in the boards is other than the types of @grafana/schema 13.2 say, in options of panels too."""
    assert seen["findings"] == []


@pytest.mark.parametrize("index", range(len(DAMAGE)), ids=lambda index: DAMAGE[index][0][-1])
def test_the_schema_finds_damage(seen, index):
    """2: a board with a wrong key, type or word in it does not pass, so that passing means something."""
    assert seen["damage"][index] != []


def test_grafana_formats_every_unit(seen):
    """6: the library that formats values knows every unit of the boards."""
    assert seen["units"]["known"] > 200
    assert seen["units"]["unknown"] == []


@pytest.mark.parametrize(
    ("name", "panel"), tables(), ids=lambda given: given if isinstance(given, str) else given["title"]
)
def test_tables_come_out_as_meant(seen, name, panel):
    """7: Grafana's own transformations join a table's queries, a row for each thing and the columns in order."""
    wanted = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    titles = [wanted["renameByName"][column] for column in sorted(wanted["indexByName"], key=wanted["indexByName"].get)]

    assert seen["columns"][f"{name}/{panel['id']}"] == {"names": titles, "rows": 2}


def test_nothing_is_red_without_data(seen):
    """17: Grafana shows the words for «no data» and none of the colours that alarm."""
    said = {
        f"{name}/{panel['id']}": panel["fieldConfig"]["defaults"]["noValue"]
        for name in NAMES
        for panel in panels(name)
        if panel["type"] in ("stat", "gauge")
    }

    assert {key: value["text"] for key, value in seen["empty"]["values"].items()} == said
    assert {value["color"] for value in seen["empty"]["values"].values()} & set(seen["empty"]["alarming"]) == set()
