package dev.motet;

import dev.motet.v1.Lease;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A worker of this process and the engine that it is connected to, one pair for each test. */
abstract class WorkerBench {
  static final long SELDOM = 60_000; // Milliseconds between heartbeats that no test waits for.

  final FakeEngine engine = new FakeEngine();
  final CompletableFuture<Throwable> ended = new CompletableFuture<>();
  final LinkedBlockingQueue<MotetException> lost = new LinkedBlockingQueue<>();
  FakeServer server;
  Worker worker;
  Thread thread;

  @BeforeEach
  void serve() throws Exception {
    server = new FakeServer(engine, new FakeRuns());
    worker = new Worker(server.address()).id("w1").onLost(lost::add);
  }

  @AfterEach
  void stop() throws Exception {
    if (thread != null) thread.interrupt();
    server.close();
  }

  FakeEngine.Connection connect() throws Exception {
    start();
    FakeEngine.Connection connection = engine.next();
    connection.welcome(7, SELDOM);
    return connection;
  }

  void start() {
    thread = new Thread(() -> {
      try {
        worker.run();
        ended.complete(null);
      } catch (Throwable fault) {
        ended.complete(fault);
      }
    });
    thread.start();
  }

  static Lease.Builder lease(String id) {
    return Lease.newBuilder().setLeaseId(id).setEpoch(7).setAgent("shout").setInput(Payloads.text("hey"));
  }
}
