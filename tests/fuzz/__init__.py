"""Fuzzing: damaged files and odd command lines, of which none may do harm.

``seeds`` makes whole files, ``mutate`` damages them, ``targets`` gives them to patchgate, and
``__main__`` runs cases in forked workers that have limits. A case is a number: it is the same
every time.
"""
