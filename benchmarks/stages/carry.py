"""What must travel, beside the repository, to a machine that has a GPU and can fetch nothing.

The library as it is built here, with machine code for that GPU; for NVDEC the Python packages that
are not everywhere (PyAV, PyNvVideoCodec), and films with the hashes of their planes. All of it but
the library lies in build/gpu-carry; run.py finds it there.
"""

import lzma
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from commit import CARRIED, ROOT, commit

from stages import STAGES

FOLDER = CARRIED.parent
PACKAGES = FOLDER / "site.zip"
FILMS = FOLDER / "films"
LIBRARY = ROOT / "python" / "patchgate" / "_C.so"
MIB = 1 << 20
GENERATION = 9  # of the GPU: sm_90
# In the wheels, but not imported.
LEFT_OUT = re.compile(r"^(samples|benchmarks|tests|include)/|\.data/|\.pyx$|\.pxd$")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def carry(most: float, python: str) -> bool:
    """Makes what is to be carried, and prints what each stage takes.

    Args:
        most: MiB that a stage may take with the repository.
        python: version of the Python there, such as "3.12".

    Returns:
        Whether every stage can travel.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    CARRIED.write_text(commit() + "\n")
    why = {letter: lacking() for letter in STAGES}
    try:
        bring_packages(python)
        make_films()
    except (OSError, subprocess.CalledProcessError) as error:
        why["d"] = why["d"] or f"{type(error).__name__}: {error}"
    whole = size_of([ROOT / name for name in repository()]) / MIB
    good = True
    for letter in STAGES:
        parts = {path: size_of([path]) / MIB for path in beside(letter)}
        total = whole + sum(parts.values())
        told = ", ".join(f"{path.relative_to(ROOT)} {size:.1f}" for path, size in parts.items())
        print(f"{letter}: {total:.1f} MiB: the repository {whole:.1f}, {told}")
        too_much = f"more than {most:g} MiB" if total > most else ""
        for problem in filter(None, (too_much, why[letter])):
            print(f"   FAILED: {problem}")
            good = False
    return good


def beside(letter: str) -> list[Path]:
    """What a stage needs that git does not keep, from the repository's root."""
    needed = [LIBRARY, CARRIED]
    return [*needed, PACKAGES, FILMS] if letter == "d" else needed


def repository() -> list[str]:
    """Files that git keeps or does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [name for name in done.stdout.decode().split("\0") if name]


def size_of(paths: list[Path]) -> int:
    """Bytes, of folders with what is in them. What is not there has none."""
    files = [path for each in paths for path in (each, *each.rglob("*")) if path.is_file()]
    return sum(path.lstat().st_size for path in files)


def lacking() -> str:
    """Why the library here cannot be carried; "" where it can."""
    if not LIBRARY.exists():
        return "the library is not built"
    sources = [ROOT / "CMakeLists.txt", *(p for p in (ROOT / "csrc").rglob("*") if p.is_file())]
    if LIBRARY.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        return "the library is older than its sources: build it (make setup)"
    # In a process of its own: this one needs no torch, and may have another library.
    code = "import patchgate; print(*patchgate.build_info()['cuda_architectures'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT / "python")},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        return "the library does not load here, either"
    built = done.stdout.split()
    if not any(int(each.split("-")[0]) // 10 == GENERATION for each in built):
        return f"the library has no kernels for sm_{GENERATION}0, only for {built or 'the CPU'}"
    return ""


def bring_packages(python: str) -> None:
    """PyAV and PyNvVideoCodec for another Python, in one archive that is as small as it can be."""
    wanted = [f"av=={metadata.version('av')}", "PyNvVideoCodec>=2.2.4"]
    said = " ".join([python, *wanted]).encode()
    if PACKAGES.exists():
        with zipfile.ZipFile(PACKAGES) as archive:
            if archive.comment == said:
                return
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
            "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
            *(f"--platform={name}_x86_64" for name in PLATFORMS), "-d", folder, *wanted,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        unfinished = PACKAGES.with_suffix(".unfinished")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_LZMA) as archive:
            archive.comment = said
            for wheel in sorted(Path(folder).glob("*.whl")):
                for name, content in kept(wheel):
                    archive.writestr(name, content)
        unfinished.rename(PACKAGES)


def kept(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel that are imported, or linked to."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not LEFT_OUT.search(name) and not name.endswith("/"):
                yield name, archive.read(name)


def unpacked(folder: Path) -> Path | None:
    """Where what was carried can be imported from; None where nothing was.

    Raises:
        OSError, zipfile.BadZipFile, lzma.LZMAError: it cannot be unpacked.
    """
    if not PACKAGES.exists():
        return None
    if not folder.exists() or folder.stat().st_mtime < PACKAGES.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with zipfile.ZipFile(PACKAGES) as archive:
            archive.extractall(unfinished)
        unfinished.touch()
        unfinished.rename(folder)
    return folder


UNPACKING_FAILED = (OSError, zipfile.BadZipFile, lzma.LZMAError)


def make_films() -> None:
    """Every film of benchmarks/gpu/films.py, and what PyAV says of its frames."""
    source = ROOT / "benchmarks" / "gpu" / "films.py"
    if FILMS.exists() and FILMS.stat().st_mtime < source.stat().st_mtime:
        shutil.rmtree(FILMS)
    code = (
        "from pathlib import Path\n"
        "from gpu import films\n"
        f"folder = Path(r'{FILMS}')\n"
        "for name in [*films.FILMS, films.LARGE]:\n"
        "    path = films.film(name, folder)\n"
        "    if name in films.FILMS:\n"
        "        films.told_by_pyav(path)\n"
    )
    paths = {"PYTHONPATH": f"{ROOT / 'python'}:{ROOT / 'benchmarks'}"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=paths, check=True)
