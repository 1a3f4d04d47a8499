"""What `peermentor-server` and `python -m peermentor_server` run; see cli/program."""

from peermentor_server import process

process.prepare()

import sys

from peermentor_server.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
