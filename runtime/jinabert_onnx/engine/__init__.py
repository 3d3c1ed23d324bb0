"""Running batches: the onnxruntime session, its threads, memory and limits."""
