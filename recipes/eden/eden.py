"""Entry of the recipe's helper: `python3 eden.py VERB ARGUMENTS`, in the application's folder. It only finds the module that does the work.

Exit status: 0 done, 1 failed with the reason on standard error, 2 used wrongly, 128+N ended by signal N after cleaning up.
"""
import importlib
import os
import signal
import sys
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import eden_site  # noqa: E402  (the folder must be on the path first)
from failure import Failure, of_system  # noqa: E402

# Verb: the module, and the words that `run` gets before the arguments.
VERBS = {
    "check": ("checking", ["check"]),
    "status": ("checking", ["status"]),
    "preview": ("preview", []),
    "migrate": ("migration", ["migrate"]),
    "migrate-off": ("migration", ["migrate-off"]),
    "schema-check": ("migration", ["schema-check"]),
    "compile": ("migration", ["compile"]),
    "smoke": ("migration", ["smoke"]),
    "database": ("database", []),
    "fixes": ("fixes", []),
    "fix-new": ("fixes", ["new"]),
    "cron": ("cron", []),
    "jobs": ("jobs", []),
    "scheduler": ("scheduler", []),
    "fingerprint": ("fingerprint", []),
}


def leave(number, _frame):
    """Every `finally` still runs: a preview removes its folder, a migration puts the configuration back."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main(arguments):
    if not arguments or arguments[0] not in VERBS:
        print("usage: eden.py VERB ARGUMENTS\nhint: the verbs are " + ", ".join(sorted(VERBS)), file=sys.stderr)
        return 2
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    module, words = VERBS[arguments[0]]
    site = eden_site.Site(os.environ)
    try:
        return importlib.import_module(module).run(site, words + arguments[1:]) or 0
    except Failure as failure:
        text = str(failure)
    except OSError as error:
        text = str(of_system(error))
    except Exception:  # a mistake of ours: where it happened helps, and its text may hold a secret
        text = traceback.format_exc()
    print(site.mask(text), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
