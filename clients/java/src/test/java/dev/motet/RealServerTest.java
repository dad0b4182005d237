package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.motet.v1.Agent;
import dev.motet.v1.CatalogServiceGrpc;
import dev.motet.v1.Event;
import dev.motet.v1.ListGroupsRequest;
import dev.motet.v1.ListRunsRequest;
import dev.motet.v1.MapInput;
import dev.motet.v1.Outcome;
import dev.motet.v1.Run;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResult;
import dev.motet.v1.StartRunResponse;
import dev.motet.v1.State;
import dev.motet.v1.StopReceipt;
import dev.motet.v1.WorkerAgent;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

/** Client and worker against a server as it is installed. */
@Timeout(120)
@EnabledIf(value = "dev.motet.RealServer#isThere", disabledReason = "no motet in PATH, and MOTET_BIN does not name one")
class RealServerTest {
  private static final String CATALOG = """
      [agents.upper]
      kind = "command"
      argv = ["tr", "a-z", "A-Z"]

      [agents.slow]
      kind = "command"
      argv = ["sleep", "30"]

      [agents.shout]
      kind = "remote"

      [agents.chain]
      kind = "remote"

      [groups.words]
      members = ["upper", { agent = "upper", name = "again" }]

      [groups.long]
      members = ["upper", "slow"]

      [groups.voices]
      members = ["shout"]
      aggregation = "first"

      [groups.chains]
      members = ["chain"]
      aggregation = "first"
      """;

  @TempDir
  private static Path folder;

  private static RealServer server;
  private static MotetClient client;

  @BeforeAll
  static void serve() throws Exception {
    server = new RealServer(folder, CATALOG);
    client = new MotetClient(server.address());
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static RunRequest group(String name) {
    return RunRequest.newBuilder().setGroupName(name).setInput(Payloads.text("hello")).build();
  }

  private static <T> T wait(Future<T> future) throws Exception {
    return future.get(60, TimeUnit.SECONDS);
  }

  @Test
  void aRunGivesItsResult() throws Exception {
    RunResult result = wait(client.run(group("words")));
    assertEquals(State.STATE_SUCCEEDED, result.getState());
    List<String> outputs =
        result.getGroups(0).getOutcomesList().stream().map(each -> Payloads.string(each.getOutput())).toList();
    assertEquals(List.of("HELLO", "HELLO"), outputs);
  }

  @Test
  void aRunInTheBackgroundIsFoundListedWatchedAndCancelled() throws Exception {
    RunRequest request = group("long").toBuilder().setRequestId("java-1").putLabels("test", "java").build();
    StartRunResponse started = wait(client.start(request));
    assertTrue(wait(client.start(request)).getExisting());
    String runId = started.getRunId();
    assertEquals(State.STATE_RUNNING, wait(client.get(runId)).getState());
    ListRunsRequest labelled = ListRunsRequest.newBuilder().putLabels("test", "java").build();
    assertEquals(List.of(runId), wait(client.list(labelled)).getRunsList().stream().map(Run::getRunId).toList());
    MotetStream<Event, RunResult> watch = client.watch(runId, 0);
    CompletableFuture<Event> ended = new CompletableFuture<>();
    CompletableFuture<RunResult> end = watch.forEach(event -> {
      if (event.hasMemberEnded()) ended.complete(event);
    });
    assertEquals("upper", wait(ended).getMember());
    Run run = wait(client.cancel(runId));
    assertEquals(State.STATE_CANCELLED, run.getState());
    assertEquals(run.getResult(), wait(end));
    Outcome slow = run.getResult().getGroups(0).getOutcomes(1);
    assertEquals(StopReceipt.Kind.KIND_STOPPED, slow.getStop().getKind());
  }

  @Test
  void aMapAnswersEachInput() throws Exception {
    List<MapInput> inputs = List.of("a", "b", "c").stream()
        .map(text -> MapInput.newBuilder().setId(text).setInput(Payloads.text(text)).build()).toList();
    Set<String> answers = new ConcurrentSkipListSet<>();
    RunRequest words = RunRequest.newBuilder().setGroupName("words").build();
    assertEquals(3, wait(client.map(words, inputs, 2).forEach(answer -> answers.add(
        answer.getId() + Payloads.string(answer.getResult().getGroups(0).getOutcomes(0).getOutput())))));
    assertEquals(Set.of("aA", "bB", "cC"), answers);
  }

  @Test
  void aRunThatEndsAtItsTimeoutStillTellsWhatItHas() throws Exception {
    RunRequest request = group("long").toBuilder().setTimeout(Payloads.duration(Duration.ofSeconds(1))).build();
    RunResult result = wait(client.run(request));
    assertEquals(State.STATE_SUCCEEDED, result.getGroups(0).getOutcomes(0).getState());
    assertEquals(State.STATE_TIMED_OUT, result.getGroups(0).getOutcomes(1).getState());
  }

  @Test
  void theCatalogAndTheLimitsCanBeRead() throws Exception {
    assertEquals(List.of("chain", "shout", "slow", "upper"),
        wait(client.agents()).stream().map(Agent::getName).toList());
    assertEquals(0, wait(client.limits("")).getWaiting());
    var catalog = CatalogServiceGrpc.newBlockingStub(client.channel());
    assertEquals(4, catalog.listGroups(ListGroupsRequest.getDefaultInstance()).getGroupsCount());
  }

  @Test
  void aWrongRequestIsToldByItsField() {
    var thrown = assertThrows(ExecutionException.class, () -> wait(client.run(group(""))));
    MotetException failure = assertInstanceOf(MotetException.class, thrown.getCause());
    assertEquals("INVALID_REQUEST", failure.reason());
    assertEquals("group_name", failure.violations().get(0).field());
  }

  /** Runs a worker until it has been drained by the caller; completes when it has left. */
  private static CompletableFuture<Void> serve(Worker worker) throws Exception {
    CountDownLatch welcome = new CountDownLatch(1);
    CompletableFuture<Void> left = new CompletableFuture<>();
    worker.onConnect(epoch -> welcome.countDown());
    new Thread(() -> {
      try {
        worker.run();
        left.complete(null);
      } catch (Throwable fault) {
        left.completeExceptionally(fault);
      }
    }).start();
    assertTrue(welcome.await(20, TimeUnit.SECONDS));
    return left;
  }

  @Test
  void aWorkerAnswersCallsMakesNestedOnesAndLeaves() throws Exception {
    Worker worker = new Worker(server.address())
        .offer("shout", call -> {
          call.report(Payloads.text("drawing breath"));
          return Payloads.text(call.text().toUpperCase(Locale.ROOT));
        })
        .offer(WorkerAgent.newBuilder().setName("chain").setCapacity(2).build(),
            call -> Payloads.answer(client.run(group("voices")).get()));
    CompletableFuture<Void> left = serve(worker);
    assertEquals("HELLO", Payloads.string(Payloads.answer(wait(client.run(group("chains"))))));
    worker.drain();
    wait(left);
  }

  @Test
  void whoGoesAwayEndsTheRunAndTheWorkersFunction() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CompletableFuture<Boolean> stopped = new CompletableFuture<>();
    Worker worker = new Worker(server.address()).offer("shout", call -> {
      begun.countDown();
      try {
        new CountDownLatch(1).await();
      } finally {
        stopped.complete(call.isCancelled());
      }
      return null;
    });
    CompletableFuture<Void> left = serve(worker);
    CompletableFuture<RunResult> run = client.run(group("voices"));
    assertTrue(begun.await(20, TimeUnit.SECONDS));
    run.cancel(true);
    assertTrue(wait(stopped));
    worker.drain();
    wait(left);
  }
}
