"""Which versions an environment gets, and what its tests said of them.

    versions.py locked     constraints.txt, as it fits the torch that is installed here
    versions.py newest     constraints under which pip takes the newest allowed versions
    versions.py oldest     constraints that name the oldest allowed versions
    versions.py report F   the failed tests of the JUnit file F, and the versions they ran with

Nothing but the standard library is imported: the environment is empty when this is asked.
"""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
# In every environment: torch's CUDA build is another package, and Triton belongs to a torch.
ALWAYS = ("torch", "triton")
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?\s*(?P<how>[=>]=)\s*(?P<version>[\w.]+)")


def plain(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*extras: str) -> list[str]:
    """What the build, the library and some of its extras ask for, as in pyproject.toml."""
    text = (ROOT / ".ci" / "build.in").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [line for line in text.splitlines() if line and not line.startswith("#")]
    asked += project["dependencies"]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    return asked


def lock() -> dict[str, str]:
    """``{name: version}`` of constraints.txt."""
    text = (ROOT / "constraints.txt").read_text("utf-8")
    return {plain(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)}


def brought() -> set[str]:
    """Packages of which the installed torch demands one version.

    The CPU build demands none. The CUDA build for Linux demands a Triton of its own.
    """
    try:
        asked = metadata.requires("torch") or []
    except metadata.PackageNotFoundError:
        asked = []
    return {plain(m["name"]) for r in asked if (m := REQUIREMENT.match(r)) and m["how"] == "=="}


def locked() -> dict[str, str]:
    """The versions of the lock."""
    return {name: version for name, version in lock().items() if name not in brought()}


def newest() -> dict[str, str]:
    """Only what is the same in every environment."""
    return {name: version for name, version in locked().items() if name in ALWAYS}


def oldest() -> dict[str, str]:
    """The least version that each requirement allows; of several, the greatest of them."""
    least: dict[str, str] = {}
    for asked in requirements("test"):
        if not (match := REQUIREMENT.match(asked)):
            raise ValueError(f"{asked}: expected a lower bound, as in 'numpy>=1.26'")
        name, version = plain(match["name"]), match["version"]
        if name not in least or release(least[name]) < release(version):
            least[name] = version
    return least | newest()


def release(version: str) -> list[int]:
    """Its numbers, to be compared."""
    return [int(number) for number in re.findall(r"\d+", version)]


def report(junit: Path) -> int:
    """Prints the failed tests and the versions that differ from the lock's; 1 if any failed."""
    root = ElementTree.parse(junit).getroot()
    cases = [case for case in root.iter("testcase") if _failure(case) is not None]
    here = {plain(each.name): each.version for each in metadata.distributions()}
    print(f"\n{'package':28} {'here':20} lock")
    for name, version in sorted(lock().items()):
        if name in here and here[name].split("+")[0] != version:
            print(f"{name:28} {here[name]:20} {version}")
    print(f"\n{len(cases)} failed with these versions" + (":" if cases else ""))
    for case in cases:
        print(f"  {case.get('classname')}::{case.get('name')}: {_failure(case)}")
    return int(bool(cases))


def _failure(case: ElementTree.Element) -> str | None:
    """The first line of why a test failed, None if it did not."""
    for kind in ("failure", "error"):
        if (found := case.find(kind)) is not None:
            lines = (found.get("message") or found.text or kind).splitlines()
            return lines[0][:200]
    return None


def main(words: list[str]) -> int:
    if len(words) == 2 and words[0] == "report":
        return report(Path(words[1]))
    if len(words) != 1 or words[0] not in ("locked", "newest", "oldest"):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = {"locked": locked, "newest": newest, "oldest": oldest}[words[0]]()
    print("\n".join(f"{name}=={version}" for name, version in sorted(wanted.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
