package dev.motet;

import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.common.util.concurrent.MoreExecutors;
import dev.motet.v1.Agent;
import dev.motet.v1.CancelRunRequest;
import dev.motet.v1.CancelRunResponse;
import dev.motet.v1.CatalogServiceGrpc;
import dev.motet.v1.Event;
import dev.motet.v1.GetRunRequest;
import dev.motet.v1.GetRunResponse;
import dev.motet.v1.ListAgentsRequest;
import dev.motet.v1.ListAgentsResponse;
import dev.motet.v1.ListLimitsRequest;
import dev.motet.v1.ListLimitsResponse;
import dev.motet.v1.ListRunsRequest;
import dev.motet.v1.ListRunsResponse;
import dev.motet.v1.MapInput;
import dev.motet.v1.MapOpen;
import dev.motet.v1.MapRunResponse;
import dev.motet.v1.Run;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResponse;
import dev.motet.v1.RunResult;
import dev.motet.v1.RunServiceGrpc;
import dev.motet.v1.StartRunRequest;
import dev.motet.v1.StartRunResponse;
import dev.motet.v1.StreamRunRequest;
import dev.motet.v1.WatchRunRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * A connection to a server, made when it is first used and made again when it breaks. Any number of threads may use it.
 * Its futures and streams fail with a {@link MotetException}; cancelling one cancels the call, and with it the run,
 * unless that goes on in the background. The deadline and the end of the {@link Context} in which a call is made are
 * the call's too.
 *
 * <p>Reads that meet UNAVAILABLE are made again, up to three tries; so are run and start when the request has a
 * request_id, which makes a repeat safe. Nothing else is repeated, but that a watch comes back.
 */
public final class MotetClient implements AutoCloseable {
  /** How long a call outlives its run's timeout, so that the partial result of a run that timed out arrives. */
  private static final Duration ANSWER_GRACE = Duration.ofSeconds(5);

  private final ManagedChannel channel;
  private final Duration bound;

  /** For an address such as 127.0.0.1:50061, not encrypted. */
  public MotetClient(String address) {
    this(new Endpoint(address));
  }

  /**
   * For a server that wants TLS or a token.
   *
   * @throws MotetException when the endpoint is none, before anything is sent
   */
  public MotetClient(Endpoint endpoint) {
    this(endpoint.open(), null);
  }

  private MotetClient(ManagedChannel channel, Duration bound) {
    this.channel = channel;
    this.bound = bound;
  }

  /** The same connection, but each call ends after so long, and with it the run that it waits for. */
  public MotetClient within(Duration bound) {
    return new MotetClient(channel, bound);
  }

  /** For the services as generated, such as {@code CatalogServiceGrpc.newBlockingStub(client.channel())}. */
  public Channel channel() {
    return channel;
  }

  /** Cancels what is open and lets the connection go. */
  @Override
  public void close() {
    channel.shutdownNow();
  }

  /** Runs to the end. A run whose members failed is a result too, not an error; see {@link Payloads#answer}. */
  public CompletableFuture<RunResult> run(RunRequest request) {
    boolean repeatable = !request.getRequestId().isEmpty();
    return ask(RunServiceGrpc.getRunMethod(), request, repeatable, options(request), RunResponse::getResult);
  }

  /** Runs with the events. Cancelling the stream cancels the run. */
  public MotetStream<Event, RunResult> stream(RunRequest request) {
    StreamRunRequest asked = StreamRunRequest.newBuilder().setRequest(request).build();
    return new EventStream<>(channel, options(request), new EventStream.Way<>(RunServiceGrpc.getStreamRunMethod(),
        after -> asked, told -> new EventStream.Part(told.getEventsList(), told.hasResult() ? told.getResult() : null)),
        0, false);
  }

  /** Starts a run in the background. The response says whether the request_id was known, and the run is an old one. */
  public CompletableFuture<StartRunResponse> start(RunRequest request) {
    StartRunRequest asked = StartRunRequest.newBuilder().setRequest(request).build();
    boolean repeatable = !request.getRequestId().isEmpty();
    return ask(RunServiceGrpc.getStartRunMethod(), asked, repeatable, options(), Function.identity());
  }

  /**
   * Follows a background run from the event after a sequence number, zero for the first, to its end. It connects again
   * when the connection breaks. Cancelling the stream does not stop the run.
   */
  public MotetStream<Event, RunResult> watch(String runId, long afterSequence) {
    WatchRunRequest.Builder asked = WatchRunRequest.newBuilder().setRunId(runId);
    return new EventStream<>(channel, options(), new EventStream.Way<>(RunServiceGrpc.getWatchRunMethod(),
        after -> asked.setAfterSequence(after).build(),
        told -> new EventStream.Part(told.getEventsList(), told.hasResult() ? told.getResult() : null)),
        afterSequence, true);
  }

  /**
   * Runs the request once for each input; answers come as runs end. The request has no input of its own, and its
   * timeout bounds each run.
   *
   * @param inputs read while the stream goes, not much faster than runs start; it should not wait long for its next one
   * @param maxInFlight most runs at once; zero means 16
   * @return the answers, and how many there were
   */
  public MotetStream<MapRunResponse, Long> map(RunRequest request, Iterable<MapInput> inputs, int maxInFlight) {
    MapOpen open = MapOpen.newBuilder().setRequest(request).setMaxInFlight(maxInFlight).build();
    return new AnswerStream(channel, options(), open, inputs);
  }

  /** Tells where a background run stands, with its result once it has ended. */
  public CompletableFuture<Run> get(String runId) {
    GetRunRequest asked = GetRunRequest.newBuilder().setRunId(runId).build();
    return ask(RunServiceGrpc.getGetRunMethod(), asked, true, options(), GetRunResponse::getRun);
  }

  /** One page of background runs, newest first, without results. */
  public CompletableFuture<ListRunsResponse> list(ListRunsRequest request) {
    return ask(RunServiceGrpc.getListRunsMethod(), request, true, options(), Function.identity());
  }

  /** Stops a run and waits for its result with the stop receipts. */
  public CompletableFuture<Run> cancel(String runId) {
    CancelRunRequest asked = CancelRunRequest.newBuilder().setRunId(runId).build();
    return ask(RunServiceGrpc.getCancelRunMethod(), asked, false, options(), CancelRunResponse::getRun);
  }

  /** Tells what is in use of every limit now; with a tenant that is not empty, only of its own and its runs'. */
  public CompletableFuture<ListLimitsResponse> limits(String tenant) {
    ListLimitsRequest asked = ListLimitsRequest.newBuilder().setTenant(tenant).build();
    return ask(RunServiceGrpc.getListLimitsMethod(), asked, true, options(), Function.identity());
  }

  /** All agents of the server's catalog, by name. */
  public CompletableFuture<List<Agent>> agents() {
    ListAgentsRequest asked = ListAgentsRequest.getDefaultInstance();
    return ask(CatalogServiceGrpc.getListAgentsMethod(), asked, true, options(), ListAgentsResponse::getAgentsList);
  }

  private CallOptions options() {
    return bound == null ? CallOptions.DEFAULT : CallOptions.DEFAULT.withDeadline(deadline(bound));
  }

  private CallOptions options(RunRequest request) {
    if (!request.hasTimeout()) return options();
    Duration timeout = Payloads.duration(request.getTimeout());
    Deadline own = deadline(timeout.isNegative() ? ANSWER_GRACE : timeout.plus(ANSWER_GRACE));
    return CallOptions.DEFAULT.withDeadline(bound == null ? own : own.minimum(deadline(bound)));
  }

  private static Deadline deadline(Duration bound) {
    return Deadline.after(TimeUnit.NANOSECONDS.convert(bound), TimeUnit.NANOSECONDS);
  }

  private <Q, A, T> CompletableFuture<T> ask(
      MethodDescriptor<Q, A> method, Q request, boolean repeatable, CallOptions options, Function<A, T> read) {
    CompletableFuture<T> answer = new CompletableFuture<>();
    Context caller = Context.current();
    new Object() {
      void attempt(int number) {
        if (answer.isDone()) return;
        ListenableFuture<A> made;
        Context before = caller.attach();
        try {
          made = ClientCalls.futureUnaryCall(channel.newCall(method, options), request);
        } finally {
          caller.detach(before);
        }
        answer.whenComplete((value, fault) -> made.cancel(true)); // Nothing to cancel unless the caller has.
        Futures.addCallback(made, new FutureCallback<A>() {
          @Override
          public void onSuccess(A told) {
            answer.complete(read.apply(told));
          }

          @Override
          public void onFailure(Throwable fault) {
            MotetException failed = MotetException.of(fault);
            Duration delay = Patience.delay(number, failed);
            if (repeatable && number < Patience.TRIES && failed.code() == Status.Code.UNAVAILABLE
                && !channel.isShutdown() && Patience.bearable(delay)) {
              Patience.later(delay, Runnable::run, () -> {
                channel.resetConnectBackoff();
                attempt(number + 1);
              });
            } else {
              answer.completeExceptionally(failed);
            }
          }
        }, MoreExecutors.directExecutor());
      }
    }.attempt(1);
    return answer;
  }
}
