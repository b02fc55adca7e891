"""The recorder of a vault that is served for real.

Beside what every recorder takes: the folder of the object store with its volumes, its filer's files and its logs; every
version of every object, and the unfinished uploads, as S3 gives them; the logs of all processes, at full verbosity.
"""

from typing import Any

from tests.seizure.conductor import Conductor
from tests.seizure.recorder import Recorder
from tests.seizure.served_world import ServedWorld
from tests.seizure.stages import Stage


class ServedRecorder(Recorder):
    """Takes what is there also while parts of it are dead."""

    def __init__(self, stage: Stage, conductor: Conductor) -> None:
        super().__init__(stage)
        self._conductor = conductor

    @property
    def world(self) -> ServedWorld:
        """The vault."""
        assert isinstance(self.stage.world, ServedWorld)
        return self.stage.world

    def snapshot(self) -> None:
        """Take everything as it is now."""
        self._conductor.collect()
        self.world.look()
        super().snapshot()

    def _take_files(self) -> None:
        super()._take_files()
        self.world.write_log()
        for log in sorted((self.stage.folder / "logs").iterdir()):
            self.recording.tail("logs", log)

    def _take_bucket(self) -> None:
        if not self.world.store():
            # Killed. Its files are taken all the same.
            return
        bucket = self.world.vault.bucket
        s3: Any = bucket._s3
        for version in bucket.versions(""):
            self.recording.take("names", version.name, version.name.encode())
            entry = f"object {version.name}@{version.version_id}"
            if not version.is_delete_marker and ("bucket", entry) not in self.recording.states:
                place = {"Bucket": bucket._name, "Key": version.name, "VersionId": version.version_id}
                self.recording.take("bucket", entry, s3.get_object(**place)["Body"].read())
        for upload in bucket.unfinished(""):
            # S3 gives no part out before its upload is complete. Its bytes are in the store's volumes.
            place = {"Bucket": bucket._name, "Key": upload.name, "UploadId": upload.upload_id}
            self.recording.take("names", upload.name, repr(s3.list_parts(**place).get("Parts", ())).encode())
