package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.motet.v1.Event;
import dev.motet.v1.MapInput;
import dev.motet.v1.MapRunResponse;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResult;
import dev.motet.v1.WatchRunRequest;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Streams and what breaks them, against a server of this process. */
@Timeout(60)
class MotetStreamTest {
  private final FakeRuns runs = new FakeRuns();
  private FakeServer server;
  private MotetClient client;

  @BeforeEach
  void serve() throws Exception {
    server = new FakeServer(runs);
    client = new MotetClient(server.address());
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    server.close();
  }

  private static RunRequest group(String name) {
    return RunRequest.newBuilder().setGroupName(name).build();
  }

  private static List<Long> numbers(List<Event> events) {
    return events.stream().map(Event::getSequence).toList();
  }

  private static MotetException failureOf(CompletableFuture<?> future) {
    var thrown = assertThrows(ExecutionException.class, () -> future.get(20, TimeUnit.SECONDS));
    return assertInstanceOf(MotetException.class, thrown.getCause());
  }

  /** Asks for nothing by itself, and keeps what comes. */
  private static final class Probe implements Flow.Subscriber<Event> {
    final LinkedBlockingQueue<Object> seen = new LinkedBlockingQueue<>();
    final CompletableFuture<Flow.Subscription> subscription = new CompletableFuture<>();

    @Override
    public void onSubscribe(Flow.Subscription given) {
      subscription.complete(given);
    }

    @Override
    public void onNext(Event event) {
      seen.add(event.getSequence());
    }

    @Override
    public void onError(Throwable fault) {
      seen.add(fault);
    }

    @Override
    public void onComplete() {
      seen.add("complete");
    }
  }

  @Test
  void eventsComeInOrderAndTheResultLast() throws Exception {
    List<Event> events = new ArrayList<>();
    RunResult result = client.stream(group("panel")).forEach(events::add).get(10, TimeUnit.SECONDS);
    assertEquals(FakeRuns.DONE, result);
    assertEquals(List.of(1L, 2L, 3L), numbers(events));
  }

  @Test
  void aSubscriberGetsNoMoreThanItAsksFor() throws Exception {
    Probe probe = new Probe();
    client.stream(group("panel")).subscribe(probe);
    probe.subscription.get().request(1);
    assertEquals(1L, probe.seen.take());
    probe.subscription.get().request(1);
    assertEquals(2L, probe.seen.take());
    assertTrue(probe.seen.isEmpty());
    probe.subscription.get().request(5);
    assertEquals(3L, probe.seen.take());
    assertEquals("complete", probe.seen.take());
  }

  @Test
  void askingForNothingIsAnError() throws Exception {
    Probe probe = new Probe();
    client.stream(group("panel")).subscribe(probe);
    probe.subscription.get().request(0);
    assertInstanceOf(IllegalArgumentException.class, probe.seen.take());
  }

  @Test
  void aStreamHasOneSubscriber() throws Exception {
    MotetStream<Event, RunResult> stream = client.stream(group("panel"));
    stream.subscribe(new Probe());
    Probe second = new Probe();
    stream.subscribe(second);
    assertInstanceOf(IllegalStateException.class, second.seen.take());
  }

  @Test
  void cancellingTheSubscriptionCancelsTheRun() throws Exception {
    Probe probe = new Probe();
    MotetStream<Event, RunResult> stream = client.stream(group("wait"));
    stream.subscribe(probe);
    probe.subscription.get().request(2);
    assertEquals(1L, probe.seen.take());
    probe.subscription.get().cancel();
    assertTrue(runs.cancelled.await(10, TimeUnit.SECONDS));
    assertThrows(CancellationException.class, () -> stream.result().get(10, TimeUnit.SECONDS));
  }

  @Test
  void cancellingTheFutureCancelsTheRun() throws Exception {
    MotetStream<Event, RunResult> stream = client.stream(group("wait"));
    stream.forEach(event -> stream.result().cancel(true));
    assertTrue(runs.cancelled.await(10, TimeUnit.SECONDS));
  }

  @Test
  void whatTheActionThrowsCancelsTheRunAndFailsTheFuture() throws Exception {
    IllegalStateException wrong = new IllegalStateException("not this one");
    CompletableFuture<RunResult> result = client.stream(group("wait")).forEach(event -> {
      throw wrong;
    });
    assertTrue(runs.cancelled.await(10, TimeUnit.SECONDS));
    assertSame(wrong, assertThrows(ExecutionException.class, result::get).getCause());
  }

  @Test
  void aRunIsNotStartedAgainWhenItsStreamBreaks() {
    List<Event> events = new ArrayList<>();
    MotetException failure = failureOf(client.stream(group("break")).forEach(events::add));
    assertEquals(Status.Code.UNAVAILABLE, failure.code());
    assertEquals(List.of(1L, 2L), numbers(events));
    assertEquals(1, server.headers.size());
  }

  @Test
  void aWatchComesBackAfterTheLastEventSeen() throws Exception {
    runs.watches.add(answer -> {
      answer.onNext(FakeRuns.events(4, 6));
      answer.onError(Status.UNAVAILABLE.asRuntimeException());
    });
    runs.watches.add(answer -> { // Sends again what was seen, and ends too early.
      answer.onNext(FakeRuns.events(5, 7));
      answer.onCompleted();
    });
    runs.watches.add(answer -> { // Leaves one out.
      answer.onNext(FakeRuns.events(8, 8).toBuilder().addEvents(FakeRuns.event(10)).build());
    });
    runs.watches.add(answer -> {
      answer.onNext(FakeRuns.events(9, 10).toBuilder().setResult(FakeRuns.DONE).build());
      answer.onCompleted();
    });
    List<Event> events = new ArrayList<>();
    RunResult result = client.watch("run_1", 3).forEach(events::add).get(20, TimeUnit.SECONDS);
    assertEquals(FakeRuns.DONE, result);
    assertEquals(List.of(4L, 5L, 6L, 7L, 8L, 9L, 10L), numbers(events));
    assertEquals(List.of(3L, 6L, 7L, 8L), runs.watched.stream().map(WatchRunRequest::getAfterSequence).toList());
  }

  @Test
  void aWatchComesBackWhenTheServerHasBeenAway() throws Exception {
    runs.watches.add(answer -> answer.onNext(FakeRuns.events(1, 2)));
    runs.watches.add(answer -> {
      answer.onNext(FakeRuns.events(3, 3).toBuilder().setResult(FakeRuns.DONE).build());
      answer.onCompleted();
    });
    LinkedBlockingQueue<Long> seen = new LinkedBlockingQueue<>();
    CompletableFuture<RunResult> result = client.watch("run_1", 0).forEach(event -> seen.add(event.getSequence()));
    assertEquals(1, seen.take());
    assertEquals(2, seen.take());
    server = server.restart(runs);
    assertEquals(3, seen.take());
    assertEquals(FakeRuns.DONE, result.get(20, TimeUnit.SECONDS));
    assertEquals(2, runs.watched.get(1).getAfterSequence());
  }

  @Test
  void aWatchEndsWithItsClient() throws Exception {
    runs.watches.add(answer -> answer.onNext(FakeRuns.events(1, 1)));
    CompletableFuture<Void> seen = new CompletableFuture<>();
    CompletableFuture<RunResult> result = client.watch("run_1", 0).forEach(event -> seen.complete(null));
    seen.get(10, TimeUnit.SECONDS);
    client.close();
    assertEquals(Status.Code.UNAVAILABLE, failureOf(result).code());
    assertEquals(1, runs.watched.size());
  }

  @Test
  void aWatchThatHasNeverHeardTheServerGivesUpSoon() {
    for (int time = 0; time < 3; time++) {
      runs.watches.add(answer -> answer.onError(Status.UNAVAILABLE.withDescription("away").asRuntimeException()));
    }
    assertEquals("away", failureOf(client.watch("run_1", 0).forEach(event -> { })).getMessage());
    assertEquals(3, runs.watched.size());
  }

  @Test
  void aWatchDoesNotComeBackAfterARefusal() {
    runs.watches.add(answer -> answer.onError(Status.NOT_FOUND.asRuntimeException()));
    assertEquals("NOT_FOUND", failureOf(client.watch("run_9", 0).forEach(event -> { })).reason());
    assertEquals(1, runs.watched.size());
  }

  @Test
  void aMapAnswersEachInput() throws Exception {
    List<MapInput> inputs = IntStream.range(0, 500)
        .mapToObj(at -> MapInput.newBuilder().setId("i" + at).setInput(Payloads.text("x" + at)).build()).toList();
    List<MapRunResponse> answers = new ArrayList<>();
    assertEquals(500, client.map(group("panel"), inputs, 4).forEach(answers::add).get(20, TimeUnit.SECONDS));
    assertEquals(inputs.stream().map(MapInput::getInput).toList(),
        answers.stream().map(answer -> answer.getResult().getOutput()).toList());
  }

  @Test
  void aMapReadsNoInputsThatTheServerDoesNotTake() throws Exception {
    AtomicInteger read = new AtomicInteger();
    MapInput large = MapInput.newBuilder().setInput(Payloads.text("x".repeat(100_000))).build();
    Iterable<MapInput> endless = () -> IntStream.iterate(0, at -> at + 1).mapToObj(at -> {
      read.incrementAndGet();
      return large;
    }).iterator();
    CompletableFuture<Long> answered = new CompletableFuture<>();
    client.map(group("panel"), endless, 4).subscribe(new Flow.Subscriber<>() {
      private Flow.Subscription subscription;
      private long seen;

      @Override
      public void onSubscribe(Flow.Subscription given) {
        subscription = given;
        given.request(3);
      }

      @Override
      public void onNext(MapRunResponse answer) {
        if (++seen < 3) return;
        subscription.cancel();
        answered.complete(seen);
      }

      @Override
      public void onError(Throwable fault) {
        answered.completeExceptionally(fault);
      }

      @Override
      public void onComplete() {
        answered.completeExceptionally(new AssertionError("it has no end"));
      }
    });
    assertEquals(3, answered.get(20, TimeUnit.SECONDS));
    assertTrue(runs.cancelled.await(10, TimeUnit.SECONDS));
    assertTrue(read.get() >= 3);
  }

  @Test
  void aMapWhoseServerLeavesInputsWithoutAnswersFails() {
    List<MapInput> inputs = List.of(MapInput.newBuilder().setInput(Payloads.text("")).build());
    assertEquals("STREAM_ENDED", failureOf(client.map(group("panel"), inputs, 0).forEach(answer -> { })).reason());
  }

  @Test
  void inputsThatThrowFailTheMap() {
    IllegalStateException wrong = new IllegalStateException("no more");
    Iterable<MapInput> broken = () -> {
      throw wrong;
    };
    CompletableFuture<Long> result = client.map(group("panel"), broken, 0).forEach(answer -> { });
    assertSame(wrong, assertThrows(ExecutionException.class, () -> result.get(10, TimeUnit.SECONDS)).getCause());
  }
}
