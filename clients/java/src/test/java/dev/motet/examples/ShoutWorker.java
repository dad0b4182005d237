package dev.motet.examples;

import dev.motet.Payloads;
import dev.motet.Worker;
import java.time.Duration;
import java.util.Locale;

public final class ShoutWorker {
  public static void main(String[] arguments) throws InterruptedException {
    new Worker(arguments[0])
        .offer("shout", call -> Payloads.text(call.text().toUpperCase(Locale.ROOT)))
        .drainOnShutdown(Duration.ofSeconds(30))
        .run();
  }
}
