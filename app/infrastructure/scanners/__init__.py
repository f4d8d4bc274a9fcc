"""The scanners of the stage Security Scan: what is looked for in a tree, inside the sandbox and out of it."""
