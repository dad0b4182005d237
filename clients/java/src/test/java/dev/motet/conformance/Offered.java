package dev.motet.conformance;

import com.google.gson.JsonObject;
import dev.motet.AgentFunction;
import dev.motet.Call;
import dev.motet.MotetException;
import dev.motet.Payloads;
import dev.motet.Worker;
import dev.motet.v1.Payload;
import dev.motet.v1.WorkerAgent;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The worker of a case: welcome when it is made, drained when it is closed. */
final class Offered {
  private static final int LEAVING = 10; // Seconds that a drained worker may take.
  private static final Duration STUBBORN = Duration.ofSeconds(3);

  private final Worker worker;
  private final Thread thread;
  private volatile Throwable failed;

  Offered(String address, JsonObject offer) throws InterruptedException {
    String behaviour = offer.get("behaviour").getAsString();
    int capacity = offer.has("capacity") ? offer.get("capacity").getAsInt() : 1;
    WorkerAgent agent =
        WorkerAgent.newBuilder().setName(offer.get("agent").getAsString()).setCapacity(capacity).build();
    CompletableFuture<Long> welcome = new CompletableFuture<>();
    worker = new Worker(address)
        .capacity(capacity)
        .grace(Duration.ofMillis(behaviour.equals("stubborn") ? 200 : 5000))
        .onConnect(welcome::complete)
        .offer(agent, function(behaviour));
    thread = new Thread(() -> {
      try {
        worker.run();
      } catch (InterruptedException | MotetException fault) {
        failed = fault;
        welcome.completeExceptionally(fault);
      }
    }, "worker");
    thread.setDaemon(true);
    thread.start();
    try {
      welcome.get(LEAVING, TimeUnit.SECONDS);
    } catch (Exception fault) {
      close();
      throw new Mismatch("worker: the server did not welcome it: " + (failed == null ? fault : failed));
    }
  }

  void close() throws InterruptedException {
    worker.drain();
    thread.join(TimeUnit.SECONDS.toMillis(LEAVING));
    if (thread.isAlive()) {
      thread.interrupt();
      throw new Mismatch("worker: it did not leave within " + LEAVING + " s");
    }
    if (failed != null) throw new Mismatch("worker: " + failed);
  }

  private static AgentFunction function(String behaviour) {
    return switch (behaviour) {
      case "upper" -> Offered::upper;
      case "fail" -> call -> {
        throw MotetException.failure("WORKER_REFUSES", "the worker refuses", false);
      };
      case "slow" -> call -> {
        Thread.sleep(seconds(call.text()));
        return upper(call);
      };
      case "progress" -> call -> {
        for (int step = 1; step <= 3; step++) call.report(Payloads.json("{\"step\": " + step + "}"));
        return upper(call);
      };
      case "stubborn" -> call -> {
        long until = System.nanoTime() + STUBBORN.toNanos();
        while (System.nanoTime() < until) {
          try {
            TimeUnit.NANOSECONDS.sleep(until - System.nanoTime());
          } catch (InterruptedException ignored) {
            // That is what it is for.
          }
        }
        return upper(call);
      };
      default -> throw new Mismatch("worker: this runner does not know the behaviour " + behaviour);
    };
  }

  private static Payload upper(Call call) {
    return Payloads.text(call.text().toUpperCase(Locale.ROOT));
  }

  private static long seconds(String text) {
    try {
      return (long) (1000 * Double.parseDouble(text));
    } catch (NumberFormatException none) {
      return 30_000;
    }
  }
}
