"""Speed and sight of gradverify and its peers, the same work in the same run: ``python -m benchmarks``."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy starts its threads
