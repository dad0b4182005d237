"""Writes the generated Python of `proto/` into `proto/python/motet_proto`, or checks that it is up to date.

Knows protoc and its plugins; nothing else in the project does. Generated modules import each other by proto path
(`motet.v1`), which would collide with the engine's package, so the imports are moved under `motet_proto` as they
are written: the one change made to protoc's output, and always made here.

Usage: gen_proto.py [--check] [--image FILE]
"""

import argparse
import filecmp
import importlib.resources
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = PROTO / "python" / "motet_proto"
# (directory of the generated file, directory it is kept in)
MOVES = (("motet/v1", "v1"), ("buf/validate", "buf/validate"))
IMPORTS = (
    (re.compile(r"\bfrom motet\.v1 import"), "from motet_proto.v1 import"),
    (re.compile(r"\bfrom buf\.validate import"), "from motet_proto.buf.validate import"),
    (re.compile(r"\bimport motet\.v1\."), "import motet_proto.v1."),
    (re.compile(r"\bimport buf\.validate\."), "import motet_proto.buf.validate."),
    (re.compile(r"(?<![\w.])motet\.v1\.(\w+_pb2)"), r"motet_proto.v1.\1"),
    (re.compile(r"(?<![\w.])buf\.validate\.(\w+_pb2)"), r"motet_proto.buf.validate.\1"),
)


def validate_descriptors(target: Path) -> None:
    """Write the descriptors of buf/validate and what it imports, which protovalidate carries but as no .proto file."""
    files: list[descriptor_pb2.FileDescriptorProto] = []
    seen: set[str] = set()

    def add(raw: bytes) -> None:
        file = descriptor_pb2.FileDescriptorProto.FromString(raw)
        if file.name not in seen:
            seen.add(file.name)
            files.append(file)

    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        add(module.DESCRIPTOR.serialized_pb)
    desc = validate_pb.desc()
    add(desc.proto.to_binary())
    target.write_bytes(descriptor_pb2.FileDescriptorSet(file=files).SerializeToString())


def protoc(*arguments: str) -> None:
    include = importlib.resources.files("grpc_tools") / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    done = subprocess.run([*command, f"-I{include}"], cwd=PROTO, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def sources() -> list[str]:
    return sorted(str(path.relative_to(PROTO)) for path in (PROTO / "motet").rglob("*.proto"))


def image(target: Path) -> None:
    """Write a self-contained descriptor set, for buf, which then needs no network to resolve imports."""
    with tempfile.TemporaryDirectory() as name:
        descriptors = Path(name, "validate.binpb")
        validate_descriptors(descriptors)
        protoc(
            f"--descriptor_set_in={descriptors}",
            "-I.",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={target.resolve()}",
            *sources(),
        )


def generate(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        out = work / "out"
        out.mkdir()
        descriptors = work / "validate.binpb"
        validate_descriptors(descriptors)
        protoc(
            f"--descriptor_set_in={descriptors}",
            "-I.",
            f"--python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out=quiet:{out}",
            *sources(),
            "buf/validate/validate.proto",
        )
        for source, kept in MOVES:
            (target / kept).mkdir(parents=True, exist_ok=True)
            for path in sorted((out / source).iterdir()):
                if path.name.endswith(("_pb2_grpc.py", "_pb2_grpc.pyi")) and "service" not in path.name:
                    continue
                text = path.read_text()
                for pattern, replacement in IMPORTS:
                    text = pattern.sub(replacement, text)
                (target / kept / path.name).write_text(text)


def differences(fresh: Path, kept: Path) -> list[str]:
    names = {str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file()}
    names |= {str(p.relative_to(kept)) for p in kept.rglob("*_pb2*") if p.is_file() and "__pycache__" not in p.parts}
    return sorted(
        name
        for name in names
        if not ((fresh / name).exists() and (kept / name).exists() and filecmp.cmp(fresh / name, kept / name, False))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail when the kept files are not what protoc writes now")
    parser.add_argument("--image", type=Path, help="write a descriptor set for buf to FILE and do nothing else")
    arguments = parser.parse_args()
    if arguments.image:
        image(arguments.image)
    elif arguments.check:
        with tempfile.TemporaryDirectory() as name:
            generate(Path(name))
            stale = differences(Path(name), PACKAGE)
        if stale:
            sys.exit("generated code is out of date, run `make proto`:\n  " + "\n  ".join(stale))
    else:
        for path in PACKAGE.rglob("*_pb2*"):
            path.unlink()
        generate(PACKAGE)


if __name__ == "__main__":
    main()
