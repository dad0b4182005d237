import assert from "node:assert/strict";
import { test } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { asMotetError } from "../src/errors.js";
import { MotetError } from "../src/index.js";

/** A message whose fields have this order, from 1: text, a number, or a message. */
function message(...values: (string | number | Uint8Array)[]): Uint8Array {
  const writer = new BinaryWriter();
  values.forEach((value, index) => {
    if (typeof value === "number") writer.tag(index + 1, WireType.Varint).int64(value);
    else writer.tag(index + 1, WireType.LengthDelimited).bytes(typeof value === "string" ? Buffer.from(value) : value);
  });
  return writer.finish();
}

function told(code: Code, details: [string, Uint8Array][] = []): ConnectError {
  const error = new ConnectError("what went wrong", code, { "grpc-status": String(code) });
  error.details = details.map(([type, value]) => ({ type, value }));
  return error;
}

test("reason, metadata and violations are those of the server", () => {
  const error = asMotetError(
    told(Code.InvalidArgument, [
      ["google.rpc.ErrorInfo", message("INVALID_REQUEST", "motet.dev", message("limit", "3"))],
      ["google.rpc.BadRequest", message(message("plan.group", "must be set"))],
    ]),
  );
  assert.equal(error.code, "INVALID_ARGUMENT");
  assert.equal(error.reason, "INVALID_REQUEST");
  assert.equal(error.message, "what went wrong");
  assert.deepEqual(error.metadata, { limit: "3" });
  assert.deepEqual(error.violations, [{ field: "plan.group", message: "must be set" }]);
});

test("a quota names its tenant and how long to wait", () => {
  const error = asMotetError(
    told(Code.ResourceExhausted, [
      ["google.rpc.QuotaFailure", message(message("acme", "10 calls a day are used"))],
      ["google.rpc.RetryInfo", message(message(2, 500_000_000))],
    ]),
  );
  assert.deepEqual(error.violations, [{ field: "acme", message: "10 calls a day are used" }]);
  assert.equal(error.retryAfter, 2500);
});

test("without details the code is the reason", () => {
  assert.equal(asMotetError(told(Code.Aborted)).reason, "ABORTED");
  assert.equal(asMotetError(told(Code.Canceled)).code, "CANCELLED");
});

test("a connection that broke is UNAVAILABLE under whichever code", () => {
  for (const code of [Code.Canceled, Code.Aborted, Code.Internal, Code.Unavailable]) {
    assert.equal(asMotetError(new ConnectError("stream closed", code)).code, "UNAVAILABLE");
  }
  assert.equal(asMotetError(new ConnectError("late", Code.DeadlineExceeded)).code, "DEADLINE_EXCEEDED");
});

test("the caller's own cancel is CANCELLED, with the reason it gave as cause", () => {
  const why = new Error("enough");
  const error = asMotetError(new ConnectError("stream closed", Code.Unavailable), AbortSignal.abort(why));
  assert.equal(error.code, "CANCELLED");
  assert.equal(error.cause, why);
});

test("an error of ours stays itself", () => {
  const error = new MotetError("NOT_FOUND", "nothing there");
  assert.equal(asMotetError(error), error);
});
