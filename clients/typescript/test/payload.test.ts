import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { decode, duration, encode, group, RunFailed, RunResultSchema, State, unwrap } from "../src/index.js";

test("a value comes back as it was", () => {
  for (const value of ["text", "", new Uint8Array([0, 255]), { a: [1, null, "ü"] }, 3.5, true, null]) {
    assert.deepEqual(decode(encode(value)), value);
  }
});

test("a payload is encoded as itself", () => {
  const payload = encode("x");
  assert.equal(encode(payload), payload);
});

test("what JSON cannot hold is refused", () => {
  for (const value of [undefined, Number.NaN, [Infinity], () => 1, 10n]) assert.throws(() => encode(value));
});

test("a duration has whole nanoseconds whatever the milliseconds are", () => {
  for (const milliseconds of [0, 0.1, 200.123456789, 999.9999999, 86_400_000]) {
    const { seconds, nanos } = duration(milliseconds);
    assert.ok(Number.isInteger(nanos) && nanos >= 0 && nanos < 1e9);
    assert.ok(Math.abs(Number(seconds) * 1000 + nanos / 1e6 - milliseconds) < 0.001);
  }
  for (const wrong of [-1, Number.NaN, Infinity]) assert.throws(() => duration(wrong), RangeError);
});

test("unwrap gives the output of a run that succeeded and throws for any other, keeping it", () => {
  assert.deepEqual(unwrap(create(RunResultSchema, { state: State.SUCCEEDED, output: encode([1]) })), [1]);
  const failed = create(RunResultSchema, { state: State.FAILED, failure: { reason: "TIE", message: "two are level" } });
  assert.throws(
    () => unwrap(failed),
    (error) => error instanceof RunFailed && error.reason === "TIE" && error.result === failed,
  );
});

test("group makes a plan of one group", () => {
  const { node } = group({ name: "g", members: [{ agent: "a", weight: 2 }] });
  assert.equal(node.case, "group");
  assert.equal(node.case === "group" && node.value.members[0]?.weight, 2);
});
