// What a call that did not come through is told with. Knows the google.rpc details that Motet sends, and no call.
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import type { RunResult } from "./gen/motet/v1/run_pb.js";

// By gRPC's numbers.
const STATUSES = [
  ...["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"],
  ...["PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"],
  ...["INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"],
];

/** One wrong field of a request, by its path; or one bound that is used up, by what it bounds. */
export interface Violation {
  field: string;
  /** What is wrong and how to put it right, in one sentence. */
  message: string;
}

interface Details {
  reason?: string;
  violations?: Violation[];
  retryAfter?: number;
  metadata?: Record<string, string>;
  cause?: unknown;
}

/** Every error of a call. Compare `code` or `reason`. */
export class MotetError extends Error {
  override readonly name: string = "MotetError";
  /** The gRPC status, such as `NOT_FOUND`. */
  readonly code: string;
  /** Stable and upper case: the server's own, or the code where it gave none. */
  readonly reason: string;
  /** Every wrong field. Empty when no field is at fault. */
  readonly violations: readonly Violation[];
  /** Milliseconds to wait before trying again. Undefined when the server did not say. */
  readonly retryAfter: number | undefined;
  /** Facts that the server added, by name. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(code: string, message: string, details: Details = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.reason = details.reason || code;
    this.violations = details.violations ?? [];
    this.retryAfter = details.retryAfter;
    this.metadata = details.metadata ?? {};
  }
}

/** Thrown by `unwrap` for a run that did not succeed. `result` keeps every outcome. */
export class RunFailed extends MotetError {
  override readonly name = "RunFailed";

  constructor(readonly result: RunResult) {
    super("OK", result.failure?.message ?? "the run has no output", { reason: result.failure?.reason ?? "RUN_FAILED" });
  }
}

/** What the caller gave has no place in a message: `make` throws, and the error names the field. */
export function naming<T>(field: string, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const violations = [{ field, message }];
    throw new MotetError("INVALID_ARGUMENT", `${field}: ${message}`, { reason: "INVALID_REQUEST", violations, cause });
  }
}

/** The error of a failed call. `signal` is the caller's: once it is aborted, the call was cancelled, whatever it met. */
export function asMotetError(cause: unknown, signal?: AbortSignal): MotetError {
  if (cause instanceof MotetError) return cause;
  if (signal?.aborted) {
    return new MotetError("CANCELLED", "the call was cancelled by its caller", { cause: signal.reason });
  }
  const failed = ConnectError.from(cause);
  if (failed.cause instanceof MotetError) return failed.cause;
  if (failed.rawMessage.startsWith("serialize binary: ")) {
    return new MotetError("INVALID_ARGUMENT", failed.rawMessage, { reason: "INVALID_REQUEST", cause });
  }
  const code = STATUSES[failed.code] ?? "UNKNOWN";
  // Only a server sends grpc-status. Without it the connection broke, under whichever name HTTP/2 has for that.
  if (!failed.metadata.has("grpc-status") && BROKEN.has(code)) {
    return new MotetError("UNAVAILABLE", failed.rawMessage, { cause });
  }
  const details: Details = { cause, violations: [] };
  for (const detail of failed.details) {
    if ("type" in detail) read(detail.type, detail.value, details);
  }
  return new MotetError(code, failed.rawMessage || "the call failed and the server did not say why", details);
}

const BROKEN = new Set(["CANCELLED", "UNKNOWN", "ABORTED", "INTERNAL", "UNAVAILABLE"]);

function read(type: string, value: Uint8Array, into: Details): void {
  const parts = fields(value);
  if (type === "google.rpc.ErrorInfo") {
    into.reason = text(parts.get(1));
    into.metadata = Object.fromEntries((parts.get(3) ?? []).map(bytes).map((pair) => texts(pair)));
  } else if (type === "google.rpc.BadRequest" || type === "google.rpc.QuotaFailure") {
    // Field and subject, and both descriptions, have the same numbers.
    for (const [field, message] of (parts.get(1) ?? []).map(bytes).map((each) => texts(each))) {
      into.violations?.push({ field, message });
    }
  } else if (type === "google.rpc.RetryInfo") {
    const delay = fields(bytes(parts.get(1)?.[0]));
    into.retryAfter = Number(delay.get(1)?.[0] ?? 0) * 1000 + Number(delay.get(2)?.[0] ?? 0) / 1e6;
  }
}

type Raw = Uint8Array | number;

/** Field numbers and raw values of a message whose generated code would serve nothing else. */
function fields(message: Uint8Array): Map<number, Raw[]> {
  const reader = new BinaryReader(message);
  const found = new Map<number, Raw[]>();
  while (reader.pos < reader.len) {
    const [number, kind] = reader.tag();
    if (kind !== WireType.LengthDelimited && kind !== WireType.Varint) {
      reader.skip(kind, number);
      continue;
    }
    const value = kind === WireType.Varint ? Number(reader.int64()) : reader.bytes();
    found.set(number, [...(found.get(number) ?? []), value]);
  }
  return found;
}

const bytes = (raw: Raw | undefined): Uint8Array => (raw instanceof Uint8Array ? raw : new Uint8Array());
const text = (raw: Raw[] | undefined): string => new TextDecoder().decode(bytes(raw?.[0]));

function texts(message: Uint8Array): [string, string] {
  const parts = fields(message);
  return [text(parts.get(1)), text(parts.get(2))];
}
