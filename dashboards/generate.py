"""Write dashboards/*.json from dashboards/source/*.py: `make docs`."""

from __future__ import annotations

from pathlib import Path

from source import models, overview, runtime, sessions, slo, tools
from source.sdk import write

HERE = Path(__file__).parent
BOARDS = (overview.BOARD, tools.BOARD, models.BOARD, sessions.BOARD, runtime.BOARD, slo.BOARD)


def pages() -> dict[str, str]:
    """Return every file that is generated, by its name."""
    return {f"{board.uid}.json": write(board.build()) for board in BOARDS}


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
