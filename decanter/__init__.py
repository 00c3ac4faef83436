"""Tools of the project, none of which is deployed."""

from pathlib import Path

PROJECT = Path(__file__).parent.parent
