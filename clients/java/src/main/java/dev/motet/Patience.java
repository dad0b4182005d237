package dev.motet;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** How long to wait before trying again. */
final class Patience {
  /** Of a call that may be repeated, and of a watch that has never heard the server. */
  static final int TRIES = 3;

  private static final Duration FIRST = Duration.ofMillis(100);
  private static final Duration MOST = Duration.ofSeconds(5);

  private Patience() {}

  /**
   * Longer each time; spread, so that the callers of a server that restarts do not all come back at once; and not
   * shorter than the server says.
   */
  static Duration delay(int tries, MotetException failed) {
    long delay = Math.min(MOST.toNanos(), FIRST.toNanos() << Math.min(tries - 1, 10));
    Duration own = Duration.ofNanos(delay / 2 + ThreadLocalRandom.current().nextLong(delay / 2 + 1));
    Duration told = failed == null ? Duration.ZERO : failed.retryAfter().orElse(Duration.ZERO);
    return own.compareTo(told) > 0 ? own : told;
  }

  /** Whether somebody who waits for an answer would wait that long. */
  static boolean bearable(Duration delay) {
    return delay.compareTo(MOST) <= 0;
  }

  static void later(Duration delay, Executor on, Runnable task) {
    CompletableFuture.delayedExecutor(TimeUnit.NANOSECONDS.convert(delay), TimeUnit.NANOSECONDS, on).execute(task);
  }
}
