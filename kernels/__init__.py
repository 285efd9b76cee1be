"""Triton kernels, one file per op; installed as ``patchgate.kernels``.

``<op>.py`` has the kernels and one public function of the op's name and schema, which runs where
its tensors are: on a GPU, or on the CPU under ``TRITON_INTERPRET=1`` (set before triton is
imported). ``variants()`` names the compile-time shapes that matter, for benchmarks/compiled.
Nothing here is imported before a CUDA tensor arrives: machines without a GPU need no Triton.
"""
