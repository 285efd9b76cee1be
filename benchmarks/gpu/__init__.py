"""Measurements that need a GPU: each file is a program."""
