"""Work for the workers of a cluster in tests: tells who makes what, waits as long as it is told to, fails or dies."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tfstyle.errors import InputError, WeightsError
from tfstyle.makers import Maker


@dataclass(frozen=True)
class Told:
    """Each picture is a copy of the content image; `folder` is one that all workers see, as they are on one machine.

    In it each start of a picture leaves a file PICTURE.PID.COUNT. A file HOLD holds all pictures back, a file
    HOLD.PICTURE one.
    """

    folder: Path
    model: str = ""

    def files(self):
        return {"model": self.model} if self.model else {}

    def moved(self, places):
        return Told(self.folder, **places)

    def start(self):
        if self.model and Path(self.model).read_bytes() != b"good":
            raise WeightsError(f"{self.model}: is damaged.")
        return Maker(lambda job: job.content.read_bytes(), self.make, lambda job, data: job.output.write_bytes(data))

    def make(self, job, data):
        count = len(list(self.folder.glob(f"{job.content.stem}.*")))
        (self.folder / f"{job.content.stem}.{os.getpid()}.{count}").touch()
        while (self.folder / "HOLD").exists() or (self.folder / f"HOLD.{job.content.stem}").exists():
            time.sleep(0.02)
        if job.content.stem == "bad":
            raise InputError(f"{job.content}: is bad.")
        if job.content.stem == "bug":
            raise ZeroDivisionError("by nothing")
        if job.content.stem == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return data
