"""The plain export: what people make without this project, and how stock onnxruntime runs it.

Float32, dynamic batch and length, standard operators only, weights beside the file.
"""

from pathlib import Path

from .worker import About, Ids, Run, Vectors


def make(checkpoint: str, output: str) -> None:
    """Trace the plain encoder of `checkpoint` and write it to `output`."""
    from jinabert_onnx_eval.baselines.plain import write_plain
    from jinabert_onnx_eval.baselines.plain_model import open_encoder

    write_plain(*open_encoder(checkpoint), Path(output))


def load(path: str, threads: str) -> tuple[Run, About]:
    """Open the file in onnxruntime as it comes: every option at its default but the threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        return session.run(None, feeds)[0]  # type: ignore[no-any-return]

    return run, {"onnxruntime": onnxruntime.__version__}
