// From values to payloads and back, and helpers for plans.
import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { MotetError, RunFailed } from "./errors.js";
import { type Payload, PayloadSchema } from "./gen/motet/v1/payload_pb.js";
import { GroupSchema, ParallelSchema, type Plan, PlanSchema, SequenceSchema } from "./gen/motet/v1/plan_pb.js";
import { type RunResult, State } from "./gen/motet/v1/run_pb.js";

/** A payload: a string is text, a Uint8Array is bytes, a payload is itself, all else JSON. Throws for what is no JSON. */
export function encode(value: unknown): Payload {
  if (isMessage(value, PayloadSchema)) return value;
  if (typeof value === "string") return create(PayloadSchema, { kind: { case: "text", value } });
  if (value instanceof Uint8Array) return create(PayloadSchema, { kind: { case: "data", value } });
  const json = JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === "number" && !Number.isFinite(each)) throw new RangeError(`${each} is not JSON`);
    return each;
  });
  if (json === undefined) throw new TypeError(`${typeof value} has no JSON form; give text, bytes or JSON values`);
  return create(PayloadSchema, { kind: { case: "json", value: json } });
}

/** The natural value: a string, the parsed document, or bytes. Undefined when there is no payload. */
export function decode(payload: Payload | undefined): unknown {
  return payload?.kind.case === "json" ? JSON.parse(payload.kind.value) : payload?.kind.value;
}

export function encodeAll(values: Record<string, unknown> = {}): Record<string, Payload> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, encode(value)]));
}

/** A run's output. Throws RunFailed when it did not succeed, and MotetError while there is no result. */
export function unwrap(result: RunResult | undefined): unknown {
  if (result === undefined)
    throw new MotetError("FAILED_PRECONDITION", "there is no result before the end of the events");
  if (result.state !== State.SUCCEEDED) throw new RunFailed(result);
  return decode(result.output);
}

/** A duration in milliseconds. Throws for what is not a length of time. */
export function duration(milliseconds: number): Duration {
  if (!(milliseconds >= 0 && milliseconds < Infinity))
    throw new RangeError(`${milliseconds} must be milliseconds, 0 or more`);
  const micros = Math.round(milliseconds * 1000); // Whole ones: a Duration takes no fraction of a nanosecond.
  return create(DurationSchema, { seconds: BigInt(Math.floor(micros / 1e6)), nanos: (micros % 1e6) * 1000 });
}

/** A plan of one group. */
export function group(value: MessageInitShape<typeof GroupSchema>): Plan {
  return create(PlanSchema, { node: { case: "group", value } });
}

/** A plan of steps, one after another. */
export function sequence(value: MessageInitShape<typeof SequenceSchema>): Plan {
  return create(PlanSchema, { node: { case: "sequence", value } });
}

/** A plan of branches that run at the same time. */
export function parallel(...branches: Plan[]): Plan {
  return create(PlanSchema, { node: { case: "parallel", value: create(ParallelSchema, { branches }) } });
}
