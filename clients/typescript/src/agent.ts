// What an agent's function is asked, and how it answers. Knows nothing of connections.
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import type { UsageSchema } from "./gen/motet/v1/run_pb.js";
import { type Lease, type LeaseReply, LeaseReplySchema } from "./gen/motet/v1/worker_service_pb.js";
import { encode } from "./payload.js";

/**
 * What a function is asked. Calls that the function makes with a Client count as nested in this one and end with it.
 */
export interface Call {
  /** The input's natural value: a string, the parsed JSON, or bytes. */
  readonly input: unknown;
  /** Values by name. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** Aborted when the call is cancelled, its time is over or the connection is lost; return soon then. */
  readonly signal: AbortSignal;
  /** Everything else that is known of the call. */
  readonly lease: Lease;
  /** Tells how far the call is. Resolves when it is on its way. */
  report(value: unknown): Promise<void>;
}

/** Answers one call. What it returns is encoded, a `reply` says more. What it throws fails the call. */
export type AgentFunction = (call: Call) => unknown;

/** How an agent fails with a reason of its own, stable and upper case. Any other error has reason AGENT_FAILED. */
export class AgentFailure extends Error {
  override readonly name = "AgentFailure";

  constructor(
    readonly reason: string,
    message: string,
    /** Retryable says that trying again may help. */
    readonly more: { retryable?: boolean; details?: JsonObject; usage?: MessageInitShape<typeof UsageSchema> } = {},
  ) {
    super(message);
  }
}

/** An answer with what it used and what is to be kept with it. Without usage: one call of unknown price. */
export function reply(
  output: unknown,
  more: { usage?: MessageInitShape<typeof UsageSchema>; metadata?: JsonObject } = {},
): LeaseReply {
  return create(LeaseReplySchema, { output: encode(output), ...more });
}
