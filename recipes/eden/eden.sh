#!/bin/sh
# eden.py, by the Python that the site runs with. eden.sh VERB ARGUMENTS
exec "$EDEN_PYTHON" "$(dirname -- "$0")/eden.py" "$@"
