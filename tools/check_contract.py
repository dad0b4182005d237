"""Holds proto/ to its rules: buf's lint, no breaking change against the accepted contract, generated code up to date.

Knows buf and the baseline `proto/baseline.binpb`, which holds the descriptors of the last accepted contract. Works
offline: what the contract imports comes out of installed packages, through tools/gen_proto.py.

Usage: check_contract.py [--accept]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "proto" / "baseline.binpb"
GENERATOR = ROOT / "tools" / "gen_proto.py"
OURS = "motet/"


def image(target: Path) -> FileDescriptorSet:
    """Write the present contract and all it imports to `target`, and return it."""
    done = subprocess.run([sys.executable, str(GENERATOR), "--image", str(target)], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return FileDescriptorSet.FromString(target.read_bytes())


def own_files(descriptors: FileDescriptorSet) -> FileDescriptorSet:
    """The contract alone: no imports and no comments, neither of which can break a caller."""
    kept = FileDescriptorSet(file=[file for file in descriptors.file if file.name.startswith(OURS)])
    for file in kept.file:
        file.ClearField("source_code_info")
    return kept


def with_imports(baseline: FileDescriptorSet, present: FileDescriptorSet) -> FileDescriptorSet:
    """The baseline completed with the present imports, without which buf cannot resolve it."""
    imports = [file for file in present.file if not file.name.startswith(OURS)]
    return FileDescriptorSet(file=[*imports, *baseline.file])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accept", action="store_true", help="make the present contract the baseline; checks nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        now, before = work / "now.binpb", work / "before.binpb"
        present = image(now)
        if arguments.accept:
            BASELINE.write_bytes(own_files(present).SerializeToString(deterministic=True))
            return
        baseline = FileDescriptorSet.FromString(BASELINE.read_bytes())
        before.write_bytes(with_imports(baseline, present).SerializeToString())
        steps = (
            ["buf", "lint", str(now), "--path", OURS.rstrip("/")],
            ["buf", "breaking", str(now), "--against", str(before), "--path", OURS.rstrip("/")],
            [sys.executable, str(GENERATOR), "--check"],
        )
        failed = [step for step in steps if subprocess.run(step, cwd=ROOT, check=False).returncode]
    if failed:
        sys.exit("failed: " + "; ".join(" ".join(step[:2]) for step in failed))


if __name__ == "__main__":
    main()
