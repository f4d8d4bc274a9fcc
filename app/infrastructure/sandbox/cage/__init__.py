"""What runs in the supervising process: standard library only, started with `python -I -S`, see `main`."""
