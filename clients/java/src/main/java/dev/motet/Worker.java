package dev.motet;

import dev.motet.v1.WorkerAgent;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/** Offers functions of this program to a server as agents. Set it up before {@link #run}. */
public final class Worker {
  /** With these a server refuses a worker for what it is: coming back would not help. */
  private static final Set<Status.Code> FINAL = EnumSet.of(
      Status.Code.INVALID_ARGUMENT, Status.Code.FAILED_PRECONDITION, Status.Code.NOT_FOUND, Status.Code.ALREADY_EXISTS,
      Status.Code.UNIMPLEMENTED, Status.Code.UNAUTHENTICATED, Status.Code.PERMISSION_DENIED);

  final Map<String, Offer> offers = new LinkedHashMap<>();
  String id = host() + "-" + ProcessHandle.current().pid() + "-"
      + Integer.toHexString(ThreadLocalRandom.current().nextInt());
  int capacity;
  Duration grace = Duration.ofSeconds(5); // Half of what an engine waits.
  LongConsumer onConnect = epoch -> {};

  private final Endpoint endpoint;
  private final CountDownLatch drains = new CountDownLatch(1);
  private final CountDownLatch left = new CountDownLatch(1);
  private Consumer<MotetException> onLost = why -> {};
  private volatile Session session;

  record Offer(WorkerAgent agent, AgentFunction does) {}

  /** For a server that wants TLS or a token. */
  public Worker(Endpoint endpoint) {
    this.endpoint = endpoint;
  }

  /** For an address such as 127.0.0.1:50061, not encrypted. */
  public Worker(String address) {
    this(new Endpoint(address));
  }

  /** Offers a function as an agent, called by one lease at a time. */
  public Worker offer(String name, AgentFunction does) {
    return offer(WorkerAgent.newBuilder().setName(name).build(), does);
  }

  /** Offers a function as an agent, with its capacity, version, description, input schema and labels. */
  public Worker offer(WorkerAgent agent, AgentFunction does) {
    offers.put(agent.getName(), new Offer(agent, does));
    return this;
  }

  /** The same when the worker connects again. Default: host, process and chance. */
  public Worker id(String id) {
    this.id = id;
    return this;
  }

  /** Most leases at once over all agents. Default: the sum of the agents' own. */
  public Worker capacity(int capacity) {
    this.capacity = capacity;
    return this;
  }

  /** How long a cancelled function may take to return before it is reported as DETACHED. Default: 5 s. */
  public Worker grace(Duration grace) {
    this.grace = grace;
    return this;
  }

  /** Called with the epoch of each connection once the server has taken the worker. */
  public Worker onConnect(LongConsumer action) {
    this.onConnect = action;
    return this;
  }

  /** Called when a connection was lost or could not be made. */
  public Worker onLost(Consumer<MotetException> action) {
    this.onLost = action;
    return this;
  }

  /** When the JVM is asked to end, by SIGTERM or otherwise, drains the worker and waits so long for it to leave. */
  public Worker drainOnShutdown(Duration atMost) {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      drain();
      try {
        left.await(atMost.toNanos(), TimeUnit.NANOSECONDS);
      } catch (InterruptedException hurried) {
        Thread.currentThread().interrupt();
      }
    }, "motet-drain"));
    return this;
  }

  /** Most leases at once. */
  int width() {
    if (capacity > 0) return capacity;
    return offers.values().stream().mapToInt(offer -> Math.max(1, offer.agent().getCapacity())).sum();
  }

  /** Lets the worker take no new leases and leave when the last has ended; {@link #run} returns then. */
  public void drain() {
    drains.countDown();
    Session current = session;
    if (current != null) current.drain();
  }

  /**
   * Serves until the worker has drained, and connects again when the connection breaks. It runs once.
   *
   * @throws MotetException when the server refuses the worker, or takes another connection of the same id instead
   * @throws InterruptedException when this thread is interrupted, which ends all leases at once
   */
  public void run() throws InterruptedException {
    try {
      for (int tries = 1; drains.getCount() > 0; tries++) {
        MotetException lost = serve();
        if (lost != null && (FINAL.contains(lost.code()) || lost.reason().equals("WORKER_REPLACED"))) throw lost;
        if (session.welcomed()) tries = 1;
        if (drains.getCount() == 0) return;
        if (lost != null) onLost.accept(lost);
        drains.await(TimeUnit.NANOSECONDS.convert(Patience.delay(tries, lost)), TimeUnit.NANOSECONDS);
      }
    } finally {
      left.countDown();
    }
  }

  /** Holds one connection to its end; null when that was in good order. */
  private MotetException serve() throws InterruptedException {
    ManagedChannel channel = endpoint.open();
    try {
      session = new Session(this);
      if (drains.getCount() == 0) session.drain(); // It was asked for before there was a session to tell.
      return session.hold(channel);
    } finally {
      channel.shutdownNow();
    }
  }

  private static String host() {
    try {
      String name = InetAddress.getLocalHost().getHostName();
      return name.substring(0, Math.min(64, name.length()));
    } catch (UnknownHostException unnamed) {
      return "worker";
    }
  }
}
