"""From a loaded cross-encoder and pairs of texts to scores and to an order of documents."""
