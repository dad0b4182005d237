// One connection of a worker: the leases that it holds, and what is said of them. Each lease is answered once, by its
// function's end or, when that does not come after a cancel, by the end of the grace.
import { create, isMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Client as ServiceClient } from "@connectrpc/connect";
import { AgentFailure, type AgentFunction } from "./agent.js";
import { lease as current } from "./connection.js";
import { asMotetError, MotetError, naming } from "./errors.js";
import { StopReceipt_Kind as Kind } from "./gen/motet/v1/run_pb.js";
import {
  type CancelLease,
  type EngineMessage,
  type Lease,
  type LeaseReply,
  LeaseReplySchema,
  type WorkerAgent,
  type WorkerMessage,
  WorkerMessageSchema,
  type WorkerService,
} from "./gen/motet/v1/worker_service_pb.js";
import { decode, duration, encode } from "./payload.js";

const FIRST_SILENCE = 10_000; // How long the welcome may take, in milliseconds.
const SILENT_BEATS = 3; // Of the contract.
const MAX_MESSAGE = 16 * 1024 * 1024 - 1024; // The server's bound; more would end the stream and every lease.
const LIBRARY = "motet-typescript/0.1.0";

type Said = NonNullable<MessageInitShape<typeof WorkerMessageSchema>["message"]>;

/** What a session needs of its worker. */
export interface Terms {
  id: string;
  agents: ReadonlyMap<string, { offer: WorkerAgent; does: AgentFunction }>;
  drains: AbortSignal;
  capacity?: number;
  grace?: number;
  onWelcome?: (epoch: bigint) => void;
}

/** A lease without an answer. */
interface Held {
  lease: Lease;
  stop: AbortController;
  /** When a stop was asked for, by performance.now(). */
  asked?: number;
}

export class Session {
  welcomed = false;
  readonly #held = new Map<string, Held>();
  readonly #functions = new Set<Promise<void>>();
  readonly #outbox = new Outbox();
  readonly #broken = new AbortController();
  #interval = FIRST_SILENCE / SILENT_BEATS;
  #silence: NodeJS.Timeout | undefined;
  #beats: NodeJS.Timeout | undefined;
  #leaving = false;

  constructor(private readonly terms: Terms) {}

  get #grace(): number {
    return this.terms.grace ?? 5_000;
  }

  /** Holds the connection to its end, which is in good order when it resolves. */
  async hold(serve: ServiceClient<typeof WorkerService>["serve"], signal: AbortSignal): Promise<void> {
    const { id: workerId, agents, capacity = 0, drains } = this.terms;
    const drain = () => {
      this.#leaving = true;
      void this.#say({ case: "drain", value: {} });
    };
    const over = AbortSignal.any([signal, this.#broken.signal]);
    const hello = { workerId, agents: [...agents.values()].map(({ offer }) => offer), capacity, library: LIBRARY };
    void naming("agents", () => this.#say({ case: "hello", value: hello }));
    this.#hear();
    try {
      for await (const message of serve(this.#outbox, { signal: over })) {
        this.#hear();
        this.#take(message, drain);
      }
    } catch (cause) {
      throw this.#broken.signal.aborted ? this.#broken.signal.reason : asMotetError(cause, signal);
    } finally {
      drains.removeEventListener("abort", drain);
      clearTimeout(this.#silence);
      clearInterval(this.#beats);
      this.#outbox.close();
      const lost = new MotetError("UNAVAILABLE", "the connection is over, and with it the lease", {
        reason: "CONNECTION_LOST",
      });
      for (const { stop } of this.#held.values()) stop.abort(lost);
      this.#held.clear();
      await this.#functionsEnd();
    }
  }

  #take({ message }: EngineMessage, drain: () => void): void {
    if (message.case === "welcome") {
      const { heartbeatInterval, epoch } = message.value;
      this.#interval = (heartbeatInterval && durationMs(heartbeatInterval)) || this.#interval;
      this.welcomed = true;
      this.#hear();
      this.#beats = setInterval(() => this.#beat(), this.#interval);
      if (this.terms.drains.aborted) drain();
      else this.terms.drains.addEventListener("abort", drain);
      this.terms.onWelcome?.(epoch);
    } else if (message.case === "lease") {
      this.#begin(message.value);
    } else if (message.case === "cancel") {
      this.#cancel(message.value);
    } else if (message.case === "drain") {
      this.#leaving = true;
    }
  }

  /** The server lives. */
  #hear(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const text = "the server has not been heard for too long";
      this.#broken.abort(new MotetError("UNAVAILABLE", text, { reason: "ENGINE_SILENT" }));
    }, SILENT_BEATS * this.#interval);
  }

  #beat(): void {
    // The server ends the stream of a worker that leaves. It is left here only after a beat without a lease, since one
    // may have been on its way when the worker said that it drains.
    if (this.#leaving && this.#held.size === 0) this.#outbox.close();
    void this.#say({ case: "heartbeat", value: { running: this.#held.size } });
  }

  #begin(lease: Lease): void {
    if (this.#held.has(lease.leaseId)) return;
    const held: Held = { lease, stop: new AbortController() };
    this.#held.set(lease.leaseId, held);
    const running = this.#answer(held).then((answer) => this.#end(held, answer));
    this.#functions.add(running);
    void running.finally(() => this.#functions.delete(running));
  }

  /** Calls the function and says what came of it. Never rejects. */
  async #answer({ lease, stop }: Held): Promise<Said> {
    const { leaseId, epoch, agent, depth } = lease;
    const left = lease.timeLeft === undefined ? Infinity : durationMs(lease.timeLeft);
    const endsAt = performance.now() + left;
    const late = new AgentFailure("DEADLINE_EXCEEDED", "the call's time is over");
    const timer = left < 2 ** 31 ? setTimeout(() => stop.abort(late), left) : undefined;
    const send = async (value: unknown) => {
      if (this.#held.get(leaseId)?.stop !== stop) return;
      await this.#say({ case: "progress", value: { leaseId, epoch, report: encode(value) } });
    };
    const report = (value: unknown) => {
      const sent = send(value);
      sent.catch(() => undefined); // A report that nobody waits for must not end the program.
      return sent;
    };
    try {
      if (left <= 0) throw late;
      const does = this.terms.agents.get(agent)?.does;
      if (does === undefined) throw new AgentFailure("AGENT_NOT_FOUND", `this worker does not offer ${agent}`);
      const input = decode(lease.input);
      const variables = Object.fromEntries(
        Object.entries(lease.variables).map(([name, value]) => [name, decode(value)]),
      );
      const nested = { depth, signal: stop.signal, left: () => endsAt - performance.now() };
      const output = await current.run(nested, async () =>
        does({ lease, input, variables, signal: stop.signal, report }),
      );
      return { case: "reply", value: { ...this.#reply(output), leaseId, epoch } };
    } catch (error) {
      const failed = stop.signal.aborted && stop.signal.reason === late ? late : error;
      return { case: "failure", value: { leaseId, epoch, ...failureOf(failed) } };
    } finally {
      clearTimeout(timer);
    }
  }

  #reply(output: unknown): LeaseReply {
    if (isMessage(output, LeaseReplySchema)) return output;
    try {
      return create(LeaseReplySchema, { output: encode(output) });
    } catch (error) {
      throw new AgentFailure("OUTPUT_INVALID", messageOf(error));
    }
  }

  #cancel({ leaseId, epoch, reason }: CancelLease): void {
    const held = this.#held.get(leaseId);
    // Otherwise it is answered already, and the answer is on its way.
    if (held === undefined || held.asked !== undefined || held.lease.epoch !== epoch) return;
    held.asked = performance.now();
    held.stop.abort(new MotetError("CANCELLED", `the call was stopped: ${reason}`, { reason }));
    setTimeout(() => this.#end(held), this.#grace).unref();
  }

  /** Answers a lease that has no answer yet. Without an answer its function still runs. */
  #end(held: Held, answer?: Said): void {
    const { leaseId, epoch, agent } = held.lease;
    if (this.#held.get(leaseId) !== held) return;
    this.#held.delete(leaseId);
    let said = answer;
    if (answer === undefined || held.asked !== undefined) {
      const took = duration(performance.now() - (held.asked ?? 0));
      const [kind, detail] = answer ? [Kind.STOPPED, ""] : [Kind.DETACHED, `the function ${agent} still runs`];
      const usage = answer?.case === "reply" || answer?.case === "failure" ? answer.value.usage : undefined;
      const receipt = { kind, took, detail };
      said = { case: "stopped", value: { leaseId, epoch, receipt, ...(usage && { usage }) } };
    }
    try {
      void this.#say(said as Said);
    } catch (error) {
      const failed = failureOf(new AgentFailure("OUTPUT_INVALID", messageOf(error)));
      void this.#say({ case: "failure", value: { leaseId, epoch, ...failed } });
    }
  }

  /** Throws for a message that cannot be sent, which leaves the stream as it was. */
  #say(said: Said): Promise<void> {
    const message = create(WorkerMessageSchema, { message: said });
    const size = said.case === "heartbeat" ? 0 : toBinary(WorkerMessageSchema, message).length;
    if (size > MAX_MESSAGE) throw new RangeError(`${size} bytes are more than the ${MAX_MESSAGE} of a message`);
    return this.#outbox.put(message);
  }

  /** Waits for the functions of a connection that is over, not longer than the grace. */
  async #functionsEnd(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => (timer = setTimeout(resolve, this.#grace)));
    await Promise.race([Promise.allSettled(this.#functions), grace]);
    clearTimeout(timer);
  }
}

function failureOf(error: unknown) {
  if (!(error instanceof AgentFailure)) return { failure: { reason: "AGENT_FAILED", message: messageOf(error) } };
  const { reason, message, more } = error;
  const { details, ...others } = more;
  return { failure: { reason, message: message || reason, ...(details && { details }) }, ...others };
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)) || "the function threw an error without a message";
}

/** What is to be sent, in order. A message is taken when the one before has gone. */
class Outbox implements AsyncIterable<WorkerMessage> {
  #waiting: { message: WorkerMessage; taken: () => void }[] = [];
  #wake = () => {};
  #closed = false;

  /** Resolves when the message is taken, or never will be. */
  put(message: WorkerMessage): Promise<void> {
    return new Promise((taken) => {
      if (this.#closed) return taken();
      this.#waiting.push({ message, taken });
      this.#wake();
    });
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WorkerMessage> {
    while (!this.#closed || this.#waiting.length > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      next.taken();
      yield next.message;
    }
  }
}
