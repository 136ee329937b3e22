"""Writes `events.tfevents`, the file that TensorBoard's own writer makes of a few events, for the tests of `tensorboard.rs`.

    pip install tensorboard==2.21.0
    python make_events.py
"""

import io
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

BEGAN = 1_700_000_000.25


def scalars(step, values):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return Event(wall_time=BEGAN + 0.5 * step, step=step, summary=summary)


class Kept(io.BytesIO):
    def close(self):
        self.kept = self.getvalue()
        super().close()


file = Kept()
writer = RecordWriter(file)
for event in [
    Event(wall_time=BEGAN, file_version="brain.Event:2"),
    scalars(300, [("train/loss", 1.5), ("hyper/lr", 0.01)]),
    scalars(70_000, [("train/loss", float("nan"))]),
]:
    writer.write(event.SerializeToString(deterministic=True))
writer.close()
(Path(__file__).parent / "events.tfevents").write_bytes(file.kept)
