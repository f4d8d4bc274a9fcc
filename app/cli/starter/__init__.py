"""The files that `hotswap init` starts a module with; they become the module's own, so they import nothing of ours."""
