// Functions of this program as agents of a server: what a worker is, and how long it stays connected.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { AgentFunction } from "./agent.js";
import { backoff, connect, type ConnectOptions } from "./connection.js";
import { asMotetError, MotetError } from "./errors.js";
import { type WorkerAgent, WorkerAgentSchema, WorkerService } from "./gen/motet/v1/worker_service_pb.js";
import { Session } from "./session.js";

/** What a worker may be given. All may be left out. */
export interface WorkerOptions extends ConnectOptions {
  /** The same when the worker connects again. Default: host, process and chance. */
  id?: string;
  /** Most leases at once over all agents. Default: the sum of the agents' own. */
  capacity?: number;
  /** Milliseconds that a cancelled function may take to end before it is reported as DETACHED. Default 5,000. */
  grace?: number;
  /** Called with each connection's epoch once the server has taken the worker. */
  onWelcome?: (epoch: bigint) => void;
  /** Hears of connections that are lost. Default: console.warn. */
  log?: (text: string) => void;
}

// With these a server refuses a worker for what it is: coming back would not help.
const FINAL = new Set(["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "ALREADY_EXISTS", "UNIMPLEMENTED"]);
for (const code of ["UNAUTHENTICATED", "PERMISSION_DENIED", "OUT_OF_RANGE"]) FINAL.add(code);

/** Offers functions to a server. */
export class Worker {
  readonly id: string;
  readonly #agents = new Map<string, { offer: WorkerAgent; does: AgentFunction }>();
  readonly #drains = new AbortController();

  constructor(
    private readonly address: string,
    private readonly options: WorkerOptions = {},
  ) {
    this.id = options.id ?? `${hostname().slice(0, 64)}-${process.pid}-${randomUUID().slice(0, 8)}`;
  }

  /** Offers a function as an agent: by its name, or with version, description, inputSchema, capacity, replaySafe, labels. */
  agent(offer: string | MessageInitShape<typeof WorkerAgentSchema>, does: AgentFunction): this {
    const given = typeof offer === "string" ? { name: offer } : offer;
    const made = isMessage(given, WorkerAgentSchema) ? given : create(WorkerAgentSchema, given);
    this.#agents.set(made.name, { offer: made, does });
    return this;
  }

  /** Takes no new leases and leaves when the last has ended; `run` resolves then. */
  drain(): void {
    this.#drains.abort();
  }

  /**
   * Serves until the worker has drained, `signal` is aborted or the server refuses the worker, with whose MotetError it
   * rejects. It connects again when the connection breaks. The first of the signals `drainOn` drains; the next does what
   * it would do without. Aborting `signal` ends all leases at once.
   */
  async run({ signal, drainOn = [] }: { signal?: AbortSignal; drainOn?: NodeJS.Signals[] } = {}): Promise<void> {
    if (this.#agents.size === 0) {
      const message = "agents: there are none; offer a function with agent()";
      const violations = [{ field: "agents", message }];
      throw new MotetError("INVALID_ARGUMENT", message, { reason: "INVALID_REQUEST", violations });
    }
    const drain = () => {
      this.drain();
      for (const name of drainOn) process.off(name, drain);
    };
    for (const name of drainOn) process.on(name, drain);
    const over = signal ?? new AbortController().signal;
    const waiting = AbortSignal.any([over, this.#drains.signal]);
    try {
      for (let attempt = 1; !waiting.aborted; attempt++) {
        const { welcomed, failed } = await this.#serve(over);
        if (failed && !over.aborted && (FINAL.has(failed.code) || failed.reason === "WORKER_REPLACED")) throw failed;
        if (welcomed) attempt = 1;
        if (waiting.aborted) break;
        const why = failed?.message ?? "the server ended the stream";
        (this.options.log ?? console.warn)(`motet worker ${this.id}: not connected to ${this.address}: ${why}`);
        await sleep(backoff(attempt, failed), undefined, { signal: waiting }).catch(() => undefined);
      }
      over.throwIfAborted();
    } finally {
      for (const name of drainOn) process.off(name, drain);
    }
  }

  /** Holds one connection to its end. */
  async #serve(signal: AbortSignal): Promise<{ welcomed: boolean; failed?: MotetError }> {
    const { transport, close } = connect(this.address, this.options);
    const { id, options } = this;
    const { serve } = createClient(WorkerService, transport);
    const session = new Session({ id, ...options, agents: this.#agents, drains: this.#drains.signal });
    try {
      await session.hold(serve, signal);
      return { welcomed: session.welcomed };
    } catch (cause) {
      return { welcomed: session.welcomed, failed: asMotetError(cause) };
    } finally {
      close();
    }
  }
}
