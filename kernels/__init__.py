"""Triton kernels, one file per op; installed as ``patchgate.kernels``.

Nothing here is imported before a CUDA tensor arrives: machines without a GPU need no Triton.
"""
