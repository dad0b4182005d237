// A server that does what a test says, over a real connection.
import { once } from "node:events";
import { createServer, createSecureServer, type Http2Server, type SecureServerOptions } from "node:http2";
import type { AddressInfo } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

export class Fake {
  readonly #sessions = new Set<{ destroy: () => void }>();

  private constructor(private readonly server: Http2Server) {
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
  }

  static async serve(routes: (router: ConnectRouter) => void, tls?: SecureServerOptions): Promise<Fake> {
    const adapter = connectNodeAdapter({ routes, connect: false, grpcWeb: false });
    const server = tls === undefined ? createServer(adapter) : createSecureServer(tls, adapter);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Fake(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Breaks every connection. */
  drop(): void {
    for (const session of this.#sessions) session.destroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.drop();
    await closed;
  }
}

/** What has come, for a test that waits for it. */
export class Inbox<T> {
  #items: T[] = [];
  #wake = () => {};

  put(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  /** The next that has come; what comes before is dropped when `fits` says so. */
  async take(fits: (item: T) => boolean = () => true): Promise<T> {
    for (;;) {
      if (this.#items.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      for (const item of this.#items.splice(0, 1)) if (fits(item)) return item;
    }
  }
}
