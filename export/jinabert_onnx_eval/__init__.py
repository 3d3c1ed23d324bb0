"""How good a bundle's vectors are: benchmark tasks, precision against precision, languages, retrieval, long texts."""
