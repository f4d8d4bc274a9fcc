"""Reports of tests in JUnit XML: found and read by a program in the sandbox (`program`), asked for by `reading`.

All of it is a stranger's: the pattern, the tree, the files. So nothing of it is looked at in a process that does
anything else, and what the program answers is a stranger's word too.
"""
