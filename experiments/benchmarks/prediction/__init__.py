"""Detection in images: throughput, memory, several processes, parity of precisions and engines."""
