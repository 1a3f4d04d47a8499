"""Sets the version of the next release, if the changelog has it. Run from the top of the tree.

Usage: release.py VERSION
"""

import re
import subprocess
import sys
from pathlib import Path

VERSION = Path("clients/python/src/peermentor/_version.py")
CHANGELOG = Path("CHANGELOG.md")
FORM = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def obstacles(version: str) -> str | None:
    """Return what stands in the way of a release of this version, in words for whoever makes it."""
    if not FORM.fullmatch(version):
        return "say which version, as in: make release VERSION=1.2.3"
    tag = f"refs/tags/v{version}"
    if not subprocess.run(["git", "show-ref", "--quiet", tag], check=False).returncode:
        return f"v{version} is tagged already"
    entries = sections(CHANGELOG.read_text())
    if f"[{version}]" not in entries:
        return f"{CHANGELOG} has no entries under: ## [{version}] - YYYY-MM-DD"
    if "[Unreleased]" in entries:
        return f"{CHANGELOG} still has entries under: ## [Unreleased]"
    return None


def sections(changelog: str) -> set[str]:
    """Return the names of all parts that have an entry; a version's day must stand beside it."""
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    heading = re.compile(r"(\[Unreleased\])\n|(\[.+\]) - \d{4}-\d\d-\d\d\n")
    found = {heading.match(part) for part in parts if re.search(r"^- ", part, re.MULTILINE)}
    return {each[1] or each[2] for each in found if each}


def main(version: str) -> None:
    """Set the version, or say why not."""
    if problem := obstacles(version):
        sys.exit(problem)
    text, changed = re.subn(
        r'(?<=^__version__ = ").*(?="$)', version, VERSION.read_text(), flags=re.MULTILINE
    )
    if changed != 1:
        sys.exit(f"{VERSION} has no line of the version")
    VERSION.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
