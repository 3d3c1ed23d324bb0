"""What runs a batch: the onnxruntime session, its threads, memory and limits."""
