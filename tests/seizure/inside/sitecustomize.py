"""Python imports this before the program where PYTHONPATH names this folder; see tests.seizure.insider."""

import os
from pathlib import Path

from tests.seizure import insider

if insider.FOLDER in os.environ:
    insider.begin(Path(os.environ[insider.FOLDER]))
