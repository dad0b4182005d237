package dev.motet;

import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import dev.motet.v1.CancelLease;
import dev.motet.v1.EngineMessage;
import dev.motet.v1.Failure;
import dev.motet.v1.Heartbeat;
import dev.motet.v1.Lease;
import dev.motet.v1.LeaseFailure;
import dev.motet.v1.LeaseProgress;
import dev.motet.v1.LeaseReply;
import dev.motet.v1.LeaseStopped;
import dev.motet.v1.Payload;
import dev.motet.v1.StopReceipt;
import dev.motet.v1.WorkerDrain;
import dev.motet.v1.WorkerHello;
import dev.motet.v1.WorkerMessage;
import dev.motet.v1.WorkerServiceGrpc;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * One connection of a worker. One thread holds its state and does all the sending; functions, timers and what is heard
 * come to it. A lease is answered once: when its function ends, or after a cancel when the grace does.
 */
final class Session implements ClientResponseObserver<WorkerMessage, EngineMessage> {
  private static final int MAX_MESSAGE = (16 << 20) - 1024; // The server's; more would end the stream and all leases.
  private static final long FIRST_SILENCE = TimeUnit.SECONDS.toNanos(10); // How long the welcome may take.
  private static final int SILENT_BEATS = 3; // Of the contract.
  private static final String LIBRARY = "motet-java/0.1.0";

  private final Worker worker;
  private final CompletableFuture<MotetException> over = new CompletableFuture<>();
  private final CancellableContext whole = Context.ROOT.withCancellation();
  private final ScheduledExecutorService state = Executors.newSingleThreadScheduledExecutor(daemon("motet-worker"));
  private final ExecutorService functions = Executors.newCachedThreadPool(daemon("motet-call"));
  private final Map<String, Held> leases = new HashMap<>();
  private final Queue<Runnable> reports = new ArrayDeque<>();
  private ClientCallStreamObserver<WorkerMessage> stream;
  private volatile boolean welcomed;
  private long heard = System.nanoTime();
  private boolean drained; // By the worker's own wish.
  private boolean leaving;
  private int detached; // Functions that still run after their lease's answer.
  private boolean closed;

  Session(Worker worker) {
    this.worker = worker;
  }

  boolean welcomed() {
    return welcomed;
  }

  /** Returns at the end of the connection: null when it ended in good order. */
  MotetException hold(ManagedChannel channel) throws InterruptedException {
    post(() -> {
      Context before = whole.attach();
      WorkerServiceGrpc.newStub(channel).serve(this);
      whole.detach(before);
      WorkerHello.Builder hello = WorkerHello.newBuilder().setWorkerId(worker.id).setCapacity(worker.capacity);
      worker.offers.values().forEach(offer -> hello.addAgents(offer.agent()));
      say(message().setHello(hello.setLibrary(LIBRARY)));
      state.schedule(() -> post(() -> listen(FIRST_SILENCE)), FIRST_SILENCE, TimeUnit.NANOSECONDS);
    });
    try {
      return over.get();
    } catch (ExecutionException fault) {
      throw new IllegalStateException("the worker's own code failed", fault.getCause());
    } finally {
      whole.cancel(new MotetException(Status.Code.UNAVAILABLE, "CONNECTION_LOST", "the connection is over", null));
      state.shutdownNow();
      functions.shutdown();
      functions.awaitTermination(worker.grace.toNanos(), TimeUnit.NANOSECONDS);
    }
  }

  void drain() {
    post(() -> {
      drained = true;
      leave();
    });
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<WorkerMessage> call) {
    stream = call;
    call.setOnReadyHandler(() -> post(this::flush));
  }

  @Override
  public void onNext(EngineMessage message) {
    post(() -> take(message));
  }

  @Override
  public void onError(Throwable fault) {
    over.complete(MotetException.of(fault));
  }

  @Override
  public void onCompleted() {
    over.complete(null);
  }

  private void leave() {
    if (welcomed && !leaving) say(message().setDrain(WorkerDrain.getDefaultInstance()));
    leaving = welcomed;
  }

  private void take(EngineMessage message) {
    if (!closed) heard = System.nanoTime(); // Once asked for, the end is not waited for longer than a silence.
    switch (message.getMessageCase()) {
      case WELCOME -> {
        var told = message.getWelcome();
        long interval = Math.max(nanos(told.getHeartbeatInterval()), TimeUnit.MILLISECONDS.toNanos(10));
        state.scheduleAtFixedRate(() -> post(() -> beat(interval)), interval, interval, TimeUnit.NANOSECONDS);
        welcomed = true;
        if (drained) leave();
        worker.onConnect.accept(told.getEpoch());
      }
      case LEASE -> {
        Held held = new Held(message.getLease());
        leases.put(held.lease.getLeaseId(), held);
        if (detached < worker.width()) {
          functions.execute(held);
        } else {
          String text = "so many functions did not stop when they were asked to that no more is begun";
          held.context.cancel(null);
          end(held, held.failure(MotetException.failure("WORKER_BUSY", text, true)));
        }
      }
      case CANCEL -> stop(message.getCancel());
      case DRAIN -> leaving = true;
      default -> { } // A later version may say more.
    }
  }

  private void beat(long interval) {
    // The server ends the stream of a worker that leaves. It is left here only at a beat without a lease, since one may
    // have been on its way when the worker said that it drains.
    if (leaving && leases.isEmpty() && !closed) {
      closed = true;
      stream.onCompleted();
    }
    say(message().setHeartbeat(Heartbeat.newBuilder().setRunning(leases.size())));
    listen(SILENT_BEATS * interval);
  }

  private void listen(long bound) {
    if (System.nanoTime() - heard < bound) return;
    String text = "the server has not been heard for too long";
    over.complete(new MotetException(Status.Code.UNAVAILABLE, "ENGINE_SILENT", text, null));
  }

  private void stop(CancelLease order) {
    Held held = leases.get(order.getLeaseId());
    if (held == null || held.stopping) return; // It is answered already, and the answer is on its way.
    held.stopping = true;
    held.asked = System.nanoTime();
    held.context.cancel(new MotetException(Status.Code.CANCELLED, order.getReason(), "the call was stopped", null));
    state.schedule(() -> post(() -> end(held, null)), worker.grace.toNanos(), TimeUnit.NANOSECONDS);
  }

  /** Answers a lease that has no answer yet; null says that its function still runs. */
  private void end(Held held, WorkerMessage.Builder answer) {
    if (!leases.remove(held.lease.getLeaseId(), held)) {
      if (answer != null) detached--;
      return;
    }
    if (answer == null) detached++;
    say(held.stopping ? held.receipt(answer != null) : answer);
  }

  private void flush() {
    while (!reports.isEmpty() && stream.isReady()) reports.remove().run();
  }

  private void say(WorkerMessage.Builder message) {
    if (!closed) stream.onNext(message.build());
  }

  private void post(Runnable task) {
    try {
      state.execute(() -> {
        try {
          task.run();
        } catch (RuntimeException | Error fault) {
          over.completeExceptionally(fault);
        }
      });
    } catch (RejectedExecutionException late) {
      over.complete(null); // The connection is over and nobody waits for this.
    }
  }

  private static WorkerMessage.Builder message() {
    return WorkerMessage.newBuilder();
  }

  private static long nanos(com.google.protobuf.Duration time) {
    return TimeUnit.NANOSECONDS.convert(Payloads.duration(time));
  }

  private static ThreadFactory daemon(String name) {
    return task -> {
      Thread thread = new Thread(task, name);
      thread.setDaemon(true);
      return thread;
    };
  }

  /** A lease without an answer, and the call of its function. */
  private final class Held implements Runnable {
    private final Lease lease;
    private final CancellableContext context;
    private final Call call;
    private Thread thread;
    private boolean stopping; // A stop was asked for, then.
    private long asked;

    Held(Lease lease) {
      this.lease = lease;
      Context nested = whole.withValue(Endpoint.DEPTH, lease.getDepth());
      context = lease.hasTimeLeft()
          ? nested.withDeadlineAfter(nanos(lease.getTimeLeft()), TimeUnit.NANOSECONDS, state)
          : nested.withCancellation();
      call = new Call(lease, context, this::report);
    }

    @Override
    public void run() {
      synchronized (this) {
        thread = Thread.currentThread();
      }
      context.addListener(ended -> interrupt(), Runnable::run);
      Context before = context.attach();
      WorkerMessage.Builder answer;
      try {
        answer = answer();
      } catch (Throwable fault) { // Whatever it is, the lease has to be answered; the answer tells what it was.
        answer = failure(fault);
      } finally {
        synchronized (this) {
          thread = null;
          Thread.interrupted();
        }
        context.detachAndCancel(before, null);
      }
      WorkerMessage.Builder told = answer;
      post(() -> end(this, told));
    }

    private synchronized void interrupt() {
      if (thread != null) thread.interrupt();
    }

    private WorkerMessage.Builder answer() throws Exception {
      Worker.Offer offer = worker.offers.get(lease.getAgent());
      if (offer == null) {
        throw MotetException.failure("AGENT_NOT_FOUND", "this worker does not offer " + lease.getAgent(), false);
      }
      if (context.isCancelled()) throw new InterruptedException("the call was over before it began");
      Payload output = offer.does().call(call);
      if (output == null) throw MotetException.failure("OUTPUT_INVALID", "the function returned null", false);
      LeaseReply.Builder reply =
          LeaseReply.newBuilder().setLeaseId(lease.getLeaseId()).setEpoch(lease.getEpoch()).setOutput(output);
      if (call.usage != null) reply.setUsage(call.usage);
      if (call.metadata != null) reply.setMetadata(call.metadata);
      checkSize(reply.build().getSerializedSize());
      return message().setReply(reply);
    }

    private WorkerMessage.Builder failure(Throwable fault) {
      MotetException known = fault instanceof MotetException own ? own : null;
      boolean late = context.isCancelled() && context.cancellationCause() instanceof TimeoutException;
      String reason = known != null ? known.reason() : late ? "DEADLINE_EXCEEDED" : "AGENT_FAILED";
      String text = late && known == null ? "the call's time is over" : fault.getMessage();
      Failure.Builder why = Failure.newBuilder().setReason(reason).setMessage(
          text != null && !text.isEmpty() ? text : fault.getClass().getSimpleName());
      if (known != null) why.setDetails(details(known));
      LeaseFailure.Builder told =
          LeaseFailure.newBuilder().setLeaseId(lease.getLeaseId()).setEpoch(lease.getEpoch()).setFailure(why);
      if (call.usage != null) told.setUsage(call.usage);
      return message().setFailure(told.setRetryable(known != null && known.retryable()));
    }

    private WorkerMessage.Builder receipt(boolean stopped) {
      StopReceipt.Builder receipt = StopReceipt.newBuilder()
          .setKind(stopped ? StopReceipt.Kind.KIND_STOPPED : StopReceipt.Kind.KIND_DETACHED)
          .setTook(Payloads.duration(Duration.ofNanos(System.nanoTime() - asked)))
          .setDetail(stopped ? "" : "the function " + lease.getAgent() + " still runs");
      LeaseStopped.Builder told =
          LeaseStopped.newBuilder().setLeaseId(lease.getLeaseId()).setEpoch(lease.getEpoch()).setReceipt(receipt);
      if (call.usage != null) told.setUsage(call.usage);
      return message().setStopped(told);
    }

    private void report(Payload report) throws InterruptedException {
      LeaseProgress progress = LeaseProgress.newBuilder()
          .setLeaseId(lease.getLeaseId()).setEpoch(lease.getEpoch()).setReport(report).build();
      checkSize(progress.getSerializedSize());
      if (context.isCancelled()) throw new InterruptedException("the call is over");
      CompletableFuture<Void> sent = new CompletableFuture<>();
      post(() -> {
        reports.add(() -> {
          if (leases.get(lease.getLeaseId()) == this) say(message().setProgress(progress));
          sent.complete(null);
        });
        flush();
      });
      try {
        sent.get();
      } catch (ExecutionException impossible) {
        throw new IllegalStateException(impossible);
      }
    }
  }

  private static Struct details(MotetException known) {
    Struct.Builder details = Struct.newBuilder();
    known.metadata().forEach((name, fact) -> details.putFields(name, Value.newBuilder().setStringValue(fact).build()));
    known.retryAfter().ifPresent(after -> details.putFields("retry_after_seconds",
        Value.newBuilder().setNumberValue(after.toNanos() / 1e9).build()));
    return details.build();
  }

  private static void checkSize(int bytes) {
    if (bytes <= MAX_MESSAGE) return;
    String text = bytes + " bytes are more than the " + MAX_MESSAGE + " that fit in a message";
    throw MotetException.failure("OUTPUT_TOO_LARGE", text, false);
  }
}
