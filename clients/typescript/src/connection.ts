// How clients and workers connect: TLS, token, keepalive, sizes, deadlines, and what is repeated when the server is away.
import { AsyncLocalStorage } from "node:async_hooks";
import { readFileSync } from "node:fs";
import type { SecureClientSessionOptions } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { type CallOptions as ConnectCallOptions, Code, ConnectError } from "@connectrpc/connect";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { asMotetError, MotetError, naming } from "./errors.js";
import type { RunRequest } from "./gen/motet/v1/run_service_pb.js";
import { duration } from "./payload.js";

/** How to reach a server. Without `tls` the connection is not encrypted. */
export interface ConnectOptions {
  /** PEM files. Without `caFile` the system's roots hold; `certFile` and `keyFile` are left out, or both given. */
  tls?: { caFile?: string; certFile?: string; keyFile?: string; serverName?: string };
  /** Sent as `authorization: Bearer ...`. Without TLS everyone on the way can read it. */
  token?: string;
  /** Sent with each call. */
  metadata?: Record<string, string>;
}

/** What every call takes. Calls made in a worker's function end with its lease. */
export interface CallOptions {
  /** Cancels the call, and with it the run, unless that goes on in the background. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for the call; the server ends a run with it. 0 means already over. */
  deadline?: number | undefined;
}

const TRIES = 3; // Of a call that may be repeated.
const MAX_DELAY = 5_000;
const MAX_ANSWER = 256 * 1024 * 1024; // Results of groups of a few thousand members pass 16 MiB.
const MAX_TIMEOUT = 99_999_999; // Of gRPC's header, eight digits; more than a day counts as no bound.

/** Which lease the code that calls works for, so that what it calls counts as nested in it. */
export const lease = new AsyncLocalStorage<{ depth: number; signal: AbortSignal; left: () => number }>();

/** A transport, and how to let its connection go. */
export function connect(address: string, options: ConnectOptions): { transport: Transport; close: () => void } {
  const { tls, token, metadata } = options;
  const sent = naming("metadata", () => new Headers(metadata));
  if (token !== undefined) naming("token", () => sent.set("authorization", `Bearer ${token}`));
  const pem = (name: string, file?: string) => (file === undefined ? {} : { [name]: readFileSync(file) });
  const session: SecureClientSessionOptions = naming("tls", () => ({
    ...{ ...pem("ca", tls?.caFile), ...pem("cert", tls?.certFile), ...pem("key", tls?.keyFile) },
    ...(tls?.serverName !== undefined && { servername: tls.serverName }),
    // Node's own bounds, 10 MB for a connection and 64 KiB on the way, are less than one message.
    maxSessionMemory: 1024,
    settings: { initialWindowSize: 1024 * 1024 },
  }));
  // The server takes a ping each ten seconds; balancers drop what is silent for a minute or more.
  const pings = { pingIntervalMs: 30_000, pingTimeoutMs: 20_000 };
  const baseUrl = `${tls ? "https" : "http"}://${address}`;
  const sessionManager = naming("address", () => new Http2SessionManager(baseUrl, pings, session));
  let closed: MotetError | undefined;
  const prepare: Interceptor = (next) => (request) => {
    if (closed !== undefined) throw closed;
    const depth = lease.getStore()?.depth ?? process.env["MOTET_DEPTH"];
    if (depth !== undefined && depth !== "") request.header.set("motet-depth", String(depth));
    sent.forEach((value, name) => request.header.set(name, value));
    return next(request);
  };
  const interceptors = [again, prepare];
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors, readMaxBytes: MAX_ANSWER });
  const close = () => {
    closed = new MotetError("CANCELLED", "the client is closed");
    sessionManager.abort(ConnectError.from(closed, Code.Canceled));
  };
  return { transport, close };
}

/** Makes calls that met UNAVAILABLE again, where a repeat does no harm. */
const again: Interceptor = (next) => async (request) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (cause) {
      const failed = asMotetError(cause, request.signal);
      const delay = backoff(attempt, failed);
      const may = failed.code === "UNAVAILABLE" && attempt < TRIES && delay <= MAX_DELAY;
      if (!may || request.stream || !repeatable(request.method.name, request.message)) throw cause;
      await sleep(delay, undefined, { signal: request.signal });
    }
  }
};

/** A read, or a run that its key keeps single. */
function repeatable(method: string, message: unknown): boolean {
  if (method === "Run") return (message as RunRequest).requestId !== "";
  if (method === "StartRun") return (message as { request?: RunRequest }).request?.requestId !== "";
  return method.startsWith("Get") || method.startsWith("List");
}

/** Milliseconds before the next attempt: longer each time, spread, and not shorter than the server says. */
export function backoff(attempt: number, failed?: MotetError): number {
  const delay = Math.min(MAX_DELAY, 100 * 2 ** Math.min(attempt - 1, 10));
  return Math.max((delay * (1 + Math.random())) / 2, failed?.retryAfter ?? 0);
}

/** What Connect is given for a call: the nearer of the deadlines, and both signals. */
export function bounds(
  options: CallOptions,
  deadline = options.deadline,
): ConnectCallOptions & { signal: AbortSignal } {
  const nested = lease.getStore();
  if (deadline !== undefined) naming("deadline", () => duration(deadline === Infinity ? 0 : deadline));
  const left = Math.min(deadline ?? Infinity, nested?.left() ?? Infinity);
  if (left <= 0) throw new MotetError("DEADLINE_EXCEEDED", "the deadline had passed before the call was made");
  const signals = [options.signal, nested?.signal].filter((signal) => signal !== undefined);
  // A signal of a long life keeps a trace of everything that was made of it.
  const signal = signals.length === 1 && signals[0] ? signals[0] : AbortSignal.any(signals);
  return left > MAX_TIMEOUT ? { signal } : { signal, timeoutMs: Math.ceil(left) };
}

/** Makes a call with its bounds, and its error a MotetError. */
export async function call<T>(
  options: CallOptions,
  make: (given: ConnectCallOptions) => Promise<T>,
  deadline?: number,
): Promise<T> {
  const given = bounds(options, deadline);
  try {
    return await make(given);
  } catch (cause) {
    throw asMotetError(cause, given.signal);
  }
}
