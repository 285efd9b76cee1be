# The tests with the newest allowed version of everything but torch, in .venv-newest.
# time limit: 20m
exec bash .ci/other_versions.sh newest
