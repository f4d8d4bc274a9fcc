import os
import sys

from agent.holder.main import main

code = main(sys.argv[1:])
sys.stdout.flush()
os._exit(code)
