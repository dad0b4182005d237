"""The guard of the compatibility page: a contract that breaks callers is found, one that only grows is not."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[FileDescriptorProto], None]


def load(name: str) -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


check_contract = load("check_contract")


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    image: FileDescriptorSet = check_contract.image(tmp_path_factory.mktemp("image") / "now.binpb")
    return image


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(each for each in file.message_type if each.name == name)


def field(file: FileDescriptorProto, of: str, name: str) -> FieldDescriptorProto:
    return next(each for each in message(file, of).field if each.name == name)


def breaking(present: FileDescriptorSet, file: str, change: Change, folder: Path) -> str:
    """What buf says of the present contract, changed, against the present one."""
    buf = shutil.which("buf")
    if buf is None:
        pytest.skip("buf is not in the PATH")
    changed = FileDescriptorSet()
    changed.CopyFrom(present)
    change(next(each for each in changed.file if each.name == f"motet/v1/{file}"))
    before, after = folder / "before.binpb", folder / "after.binpb"
    before.write_bytes(present.SerializeToString())
    after.write_bytes(changed.SerializeToString())
    command = [buf, "breaking", str(after), "--against", str(before), "--path", "motet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return done.stdout


def remove_field(file: FileDescriptorProto) -> None:
    message(file, "RunResult").field.remove(field(file, "RunResult", "usage"))


def change_type(file: FileDescriptorProto) -> None:
    field(file, "Outcome", "attempts").type = FieldDescriptorProto.TYPE_INT64


def change_number(file: FileDescriptorProto) -> None:
    field(file, "Outcome", "cached").number = 99


def rename_field(file: FileDescriptorProto) -> None:
    field(file, "RunRequest", "tenant").name = "account"


def repeat_field(file: FileDescriptorProto) -> None:
    field(file, "RunRequest", "session_id").label = FieldDescriptorProto.LABEL_REPEATED


def remove_rpc(file: FileDescriptorProto) -> None:
    file.service[0].method.remove(next(each for each in file.service[0].method if each.name == "MapRun"))


def stop_streaming(file: FileDescriptorProto) -> None:
    next(each for each in file.service[0].method if each.name == "WatchRun").server_streaming = False


def remove_value(file: FileDescriptorProto) -> None:
    states = next(each for each in file.enum_type if each.name == "State")
    states.value.remove(next(each for each in states.value if each.name == "STATE_SKIPPED"))


def move_package(file: FileDescriptorProto) -> None:
    file.options.go_package = "example.com/elsewhere"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("run.proto", remove_field),
        ("run.proto", change_type),
        ("run.proto", change_number),
        ("run_service.proto", rename_field),
        ("run_service.proto", repeat_field),
        ("run_service.proto", remove_rpc),
        ("run_service.proto", stop_streaming),
        ("run.proto", remove_value),
        ("plan.proto", move_package),
    ],
)
def test_a_change_that_breaks_callers_is_found(
    file: str, change: Change, present: FileDescriptorSet, tmp_path: Path
) -> None:
    assert f"motet/v1/{file}" in breaking(present, file, change, tmp_path)


def test_a_contract_that_only_grows_breaks_nobody(present: FileDescriptorSet, tmp_path: Path) -> None:
    def grow(file: FileDescriptorProto) -> None:
        message(file, "Outcome").field.add(
            name="mood",
            json_name="mood",
            number=900,
            type=FieldDescriptorProto.TYPE_STRING,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
        next(each for each in file.enum_type if each.name == "State").value.add(name="STATE_PAUSED", number=90)
        file.message_type.add(name="Added")

    assert breaking(present, "run.proto", grow, tmp_path) == ""


def test_rules_on_values_are_not_looked_into_as_the_page_says(present: FileDescriptorSet, tmp_path: Path) -> None:
    def drop_the_rule(file: FileDescriptorProto) -> None:
        field(file, "RunRequest", "request_id").ClearField("options")

    assert breaking(present, "run_service.proto", drop_the_rule, tmp_path) == ""


def test_the_baseline_is_a_contract_of_our_own_files_alone() -> None:
    baseline = FileDescriptorSet.FromString((ROOT / "proto" / "baseline.binpb").read_bytes())
    assert {file.package for file in baseline.file} == {"motet.v1"}
    assert {file.name for file in baseline.file} >= {"motet/v1/run_service.proto", "motet/v1/worker_service.proto"}
