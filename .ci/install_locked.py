"""Install what a lock names, each file checked by its hash; where it does not fit this Python, say so.

A file whose hash is wrong is an error. A version that has no wheel for this Python or system is
not: then nothing is installed here, and what follows takes versions as ``pyproject.toml`` asks for them.
"""

import subprocess
import sys

command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
done = subprocess.run(  # noqa: S603
    [*command, "--require-hashes", "--no-deps", "--requirement", sys.argv[1]],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
)  # fmt: skip
if done.returncode == 0:
    print(f"installed from {sys.argv[1]}, by hash")
elif "DO NOT MATCH THE HASHES" in done.stdout:
    sys.exit(done.stdout)
else:
    reasons = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    print(f"note: {sys.argv[1]} does not fit here, so versions are not locked: {reasons[-1:]}")
