package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RetryInfo;
import dev.motet.v1.Failure;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResult;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Calls with one answer, against a server of this process. */
@Timeout(60)
class MotetClientTest {
  private static final RunRequest PANEL = RunRequest.newBuilder().setGroupName("panel").build();
  private static final RunRequest WAIT = RunRequest.newBuilder().setGroupName("wait").build();

  private final FakeRuns runs = new FakeRuns();
  private FakeServer server;
  private MotetClient client;

  @BeforeEach
  void serve() throws Exception {
    server = new FakeServer(runs);
    client = new MotetClient(new Endpoint(server.address()).token("secret").metadata("tenant-hint", "acme"));
  }

  @AfterEach
  void stop() throws Exception {
    client.close();
    server.close();
  }

  private static MotetException failureOf(CompletableFuture<?> future) {
    var thrown = assertThrows(ExecutionException.class, () -> future.get(20, TimeUnit.SECONDS));
    return assertInstanceOf(MotetException.class, thrown.getCause());
  }

  @Test
  void aRunGivesItsResult() throws Exception {
    assertEquals(FakeRuns.DONE, client.run(PANEL).get(10, TimeUnit.SECONDS));
  }

  @Test
  void tokenAndMetadataGoWithEachCall() throws Exception {
    client.run(PANEL).get(10, TimeUnit.SECONDS);
    assertEquals("Bearer secret", server.header(0, "authorization"));
    assertEquals("acme", server.header(0, "tenant-hint"));
    assertNull(server.header(0, "motet-depth"));
  }

  @Test
  void callsOfAFunctionTellItsDepth() throws Exception {
    Context.current().withValue(Endpoint.DEPTH, 2).call(() -> client.run(PANEL)).get(10, TimeUnit.SECONDS);
    assertEquals("2", server.header(0, "motet-depth"));
  }

  @Test
  void aRunWithARequestIdIsMadeAgainWhenTheServerIsAway() throws Exception {
    runs.failures.add(Status.UNAVAILABLE.asRuntimeException());
    runs.failures.add(Status.UNAVAILABLE.asRuntimeException());
    RunRequest keyed = PANEL.toBuilder().setRequestId("once").build();
    assertEquals(FakeRuns.DONE, client.run(keyed).get(10, TimeUnit.SECONDS));
    assertEquals(3, server.headers.size());
  }

  @Test
  void thereAreThreeTriesAndNoMore() {
    for (int time = 0; time < 3; time++) runs.failures.add(Status.UNAVAILABLE.asRuntimeException());
    RunRequest keyed = PANEL.toBuilder().setRequestId("once").build();
    assertEquals(Status.Code.UNAVAILABLE, failureOf(client.run(keyed)).code());
    assertEquals(3, server.headers.size());
  }

  @Test
  void aRunWithoutARequestIdIsNotMadeAgain() {
    runs.failures.add(Status.UNAVAILABLE.asRuntimeException());
    assertEquals(Status.Code.UNAVAILABLE, failureOf(client.run(PANEL)).code());
    assertEquals(1, server.headers.size());
  }

  @Test
  void readsAreMadeAgainAndOtherErrorsAreNot() {
    assertEquals(Status.Code.UNIMPLEMENTED, failureOf(client.get("run_1")).code());
    assertEquals(1, server.headers.size());
  }

  @Test
  void whoWouldHaveToWaitLongIsToldAtOnce() {
    runs.failures.add(refusal(Status.Code.UNAVAILABLE, Any.pack(RetryInfo.newBuilder()
        .setRetryDelay(Payloads.duration(Duration.ofHours(1))).build())));
    MotetException failure = failureOf(client.run(PANEL.toBuilder().setRequestId("once").build()));
    assertEquals(Optional.of(Duration.ofHours(1)), failure.retryAfter());
    assertEquals(1, server.headers.size());
  }

  @Test
  void anErrorTellsWhichFieldsAreWrong() {
    runs.failures.add(refusal(Status.Code.INVALID_ARGUMENT,
        Any.pack(ErrorInfo.newBuilder().setReason("INVALID_REQUEST").putMetadata("a", "b").build()),
        Any.pack(BadRequest.newBuilder().addFieldViolations(BadRequest.FieldViolation.newBuilder()
            .setField("plan.group.name").setDescription("must not be empty")).build())));
    MotetException failure = failureOf(client.run(PANEL));
    assertEquals(Status.Code.INVALID_ARGUMENT, failure.code());
    assertEquals("INVALID_REQUEST", failure.reason());
    assertEquals("it is refused", failure.getMessage());
    assertEquals(List.of(new MotetException.Violation("plan.group.name", "must not be empty")), failure.violations());
    assertEquals(Map.of("a", "b"), failure.metadata());
    assertFalse(failure.retryable());
  }

  @Test
  void anErrorTellsWhichBoundIsReachedAndWhenToComeBack() {
    runs.failures.add(refusal(Status.Code.RESOURCE_EXHAUSTED,
        Any.pack(QuotaFailure.newBuilder().addViolations(QuotaFailure.Violation.newBuilder()
            .setSubject("acme").setDescription("100 calls a day")).build()),
        Any.pack(RetryInfo.newBuilder().setRetryDelay(Payloads.duration(Duration.ofMillis(2500))).build())));
    MotetException failure = failureOf(client.run(PANEL));
    assertEquals("RESOURCE_EXHAUSTED", failure.reason());
    assertEquals(List.of(new MotetException.Violation("acme", "100 calls a day")), failure.violations());
    assertEquals(Optional.of(Duration.ofMillis(2500)), failure.retryAfter());
    assertTrue(failure.retryable());
  }

  private static RuntimeException refusal(Status.Code code, Any... details) {
    return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
        .setCode(code.value()).setMessage("it is refused").addAllDetails(List.of(details)).build());
  }

  @Test
  void cancellingTheFutureCancelsTheCall() throws Exception {
    CompletableFuture<RunResult> result = client.run(WAIT);
    assertTrue(runs.waiting.await(10, TimeUnit.SECONDS));
    assertTrue(result.cancel(true));
    assertTrue(runs.cancelled.await(10, TimeUnit.SECONDS));
  }

  @Test
  void theEndOfTheContextCancelsTheCall() throws Exception {
    Context.CancellableContext context = Context.current().withCancellation();
    CompletableFuture<RunResult> result = context.call(() -> client.run(WAIT));
    assertTrue(runs.waiting.await(10, TimeUnit.SECONDS));
    context.cancel(null);
    assertEquals(Status.Code.CANCELLED, failureOf(result).code());
  }

  @Test
  void aCallEndsWithinItsBound() {
    MotetException failure = failureOf(client.within(Duration.ofMillis(100)).run(WAIT));
    assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.code());
    assertEquals("DEADLINE_EXCEEDED", failure.reason());
  }

  @Test
  void theNearestOfBoundTimeoutAndContextIsTheDeadline() throws Exception {
    RunRequest timed = PANEL.toBuilder().setTimeout(Payloads.duration(Duration.ofSeconds(100))).build();
    client.run(timed).get(10, TimeUnit.SECONDS);
    client.within(Duration.ofSeconds(50)).run(timed).get(10, TimeUnit.SECONDS);
    var timer = Executors.newSingleThreadScheduledExecutor();
    try (var context = Context.current().withDeadlineAfter(20, TimeUnit.SECONDS, timer)) {
      context.call(() -> client.within(Duration.ofSeconds(50)).run(timed)).get(10, TimeUnit.SECONDS);
    } finally {
      timer.shutdownNow();
    }
    client.run(PANEL).get(10, TimeUnit.SECONDS);
    List<Long> left = server.deadlines.stream()
        .flatMap(Optional::stream).map(each -> each.timeRemaining(TimeUnit.SECONDS)).toList();
    assertEquals(3, left.size());
    assertTrue(left.get(0) > 50 && left.get(0) <= 105, left.toString()); // With five seconds for the answer.
    assertTrue(left.get(1) > 20 && left.get(1) <= 50, left.toString());
    assertTrue(left.get(2) <= 20, left.toString());
  }

  @Test
  void anAnswerIsTheOutputOrTheReasonWhyThereIsNone() {
    RunResult good = FakeRuns.DONE.toBuilder().setOutput(Payloads.json("[1]")).build();
    assertEquals("[1]", Payloads.string(Payloads.answer(good)));
    RunResult bad = RunResult.newBuilder()
        .setFailure(Failure.newBuilder().setReason("TIE").setMessage("two are level")).build();
    MotetException failure = assertThrows(MotetException.class, () -> Payloads.answer(bad));
    assertEquals("MotetException: TIE: two are level", failure.toString());
  }

  @Test
  void aServerThatIsNotThereIsUnavailable() throws Exception {
    server.close();
    assertEquals(Status.Code.UNAVAILABLE, failureOf(client.run(PANEL)).code());
  }
}
