"""The benchmark beside the rivals: `python -m loadtests.bench`, see loadtests/README.md."""
