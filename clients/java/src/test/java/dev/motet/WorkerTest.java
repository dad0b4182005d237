package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Duration;
import com.google.protobuf.Struct;
import dev.motet.v1.LeaseFailure;
import dev.motet.v1.LeaseReply;
import dev.motet.v1.LeaseStopped;
import dev.motet.v1.StopReceipt;
import dev.motet.v1.Usage;
import dev.motet.v1.WorkerMessage.MessageCase;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a worker makes of its leases. */
@Timeout(60)
class WorkerTest extends WorkerBench {
  private LeaseFailure failureOf(AgentFunction does) throws Exception {
    worker.offer("shout", does);
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    return connection.hear(MessageCase.FAILURE).getFailure();
  }

  @Test
  void answersALeaseWithItsIdAndEpochAndWhatItUsed() throws Exception {
    Usage usage = Usage.newBuilder().setCalls(1).setInputTokens(5).build();
    Struct metadata = Struct.newBuilder().build();
    worker.offer("shout", call -> {
      call.used(usage);
      call.metadata(metadata);
      return Payloads.text(call.text().toUpperCase(Locale.ROOT));
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    LeaseReply reply = connection.hear(MessageCase.REPLY).getReply();
    assertEquals(LeaseReply.newBuilder().setLeaseId("l1").setEpoch(7).setOutput(Payloads.text("HEY"))
        .setUsage(usage).setMetadata(metadata).build(), reply);
  }

  @Test
  void leasesRunSideBySide() throws Exception {
    CyclicBarrier together = new CyclicBarrier(2);
    worker.offer("shout", call -> {
      together.await(10, TimeUnit.SECONDS);
      return call.lease().getInput();
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    connection.lease(lease("l2").build());
    connection.hear(MessageCase.REPLY);
    connection.hear(MessageCase.REPLY);
  }

  @Test
  void aFunctionFailsWithAReasonOfItsOwn() throws Exception {
    LeaseFailure failure = failureOf(call -> {
      throw MotetException.failure("TOO_LOUD", "not so loud", true);
    });
    assertEquals("TOO_LOUD", failure.getFailure().getReason());
    assertEquals("not so loud", failure.getFailure().getMessage());
    assertTrue(failure.getRetryable());
    assertEquals("l1 7", failure.getLeaseId() + " " + failure.getEpoch());
  }

  @Test
  void anyOtherExceptionIsAgentFailed() throws Exception {
    LeaseFailure failure = failureOf(call -> {
      throw new StackOverflowError();
    });
    assertEquals("AGENT_FAILED", failure.getFailure().getReason());
    assertEquals("StackOverflowError", failure.getFailure().getMessage());
    assertFalse(failure.getRetryable());
  }

  @Test
  void anAnswerThatIsTooLargeFails() throws Exception {
    assertEquals("OUTPUT_TOO_LARGE", failureOf(call -> Payloads.data(new byte[16 << 20])).getFailure().getReason());
  }

  @Test
  void anAnswerThatIsNullFails() throws Exception {
    assertEquals("OUTPUT_INVALID", failureOf(call -> null).getFailure().getReason());
  }

  @Test
  void anAgentThatIsNotOfferedFails() throws Exception {
    worker.offer("other", call -> call.lease().getInput());
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    assertEquals("AGENT_NOT_FOUND", connection.hear(MessageCase.FAILURE).getFailure().getFailure().getReason());
  }

  @Test
  void reportsComeInOrderBeforeTheAnswer() throws Exception {
    worker.offer("shout", call -> {
      for (int step = 1; step <= 3; step++) call.report(Payloads.json(String.valueOf(step)));
      return call.lease().getInput();
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    for (int step = 1; step <= 3; step++) {
      var progress = connection.hear(MessageCase.PROGRESS).getProgress();
      assertEquals("l1 7 " + step,
          progress.getLeaseId() + " " + progress.getEpoch() + " " + progress.getReport().getJson());
    }
    connection.hear(MessageCase.REPLY);
  }

  @Test
  void aCancelInterruptsTheFunctionAndIsAnsweredWithAReceipt() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CompletableFuture<Boolean> cancelled = new CompletableFuture<>();
    worker.offer("shout", call -> {
      begun.countDown();
      try {
        new CountDownLatch(1).await();
      } finally {
        cancelled.complete(call.isCancelled());
      }
      return null;
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    assertTrue(begun.await(10, TimeUnit.SECONDS));
    connection.cancel("l1", 7);
    LeaseStopped stopped = connection.hear(MessageCase.STOPPED).getStopped();
    assertEquals("l1 7", stopped.getLeaseId() + " " + stopped.getEpoch());
    assertEquals(StopReceipt.Kind.KIND_STOPPED, stopped.getReceipt().getKind());
    assertTrue(stopped.getReceipt().hasTook());
    assertTrue(cancelled.get());
  }

  @Test
  void aFunctionThatDoesNotStopIsDetachedAndItsLateAnswerIsDropped() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    CountDownLatch begun = new CountDownLatch(1);
    worker.grace(java.time.Duration.ofMillis(50)).offer("shout", call -> {
      begun.countDown();
      while (release.getCount() > 0) {
        try {
          release.await();
        } catch (InterruptedException ignored) {
          // It does as it likes.
        }
      }
      return call.lease().getInput();
    });
    worker.offer("echo", call -> call.lease().getInput()).capacity(1);
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    assertTrue(begun.await(10, TimeUnit.SECONDS));
    connection.cancel("l1", 7);
    StopReceipt receipt = connection.hear(MessageCase.STOPPED).getStopped().getReceipt();
    assertEquals(StopReceipt.Kind.KIND_DETACHED, receipt.getKind());
    assertEquals("the function shout still runs", receipt.getDetail());
    connection.lease(lease("l2").setAgent("echo").build());
    LeaseFailure busy = connection.hear(MessageCase.FAILURE).getFailure();
    assertEquals("l2 WORKER_BUSY", busy.getLeaseId() + " " + busy.getFailure().getReason());
    release.countDown();
    LeaseFailure still;
    int number = 3;
    do { // Until the function has returned, which nobody is told.
      connection.lease(lease("l" + number).setAgent("echo").build());
      still = connection.hearAnswer(number++);
    } while (still != null);
  }

  @Test
  void aLeaseWhoseTimeIsOverFailsWithDeadlineExceeded() throws Exception {
    worker.offer("shout", call -> {
      new CountDownLatch(1).await();
      return null;
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").setTimeLeft(Duration.newBuilder().setNanos(50_000_000)).build());
    assertEquals("DEADLINE_EXCEEDED", connection.hear(MessageCase.FAILURE).getFailure().getFailure().getReason());
    connection.lease(lease("l2").setTimeLeft(Duration.getDefaultInstance()).build());
    assertEquals("DEADLINE_EXCEEDED", connection.hear(MessageCase.FAILURE).getFailure().getFailure().getReason());
  }

  @Test
  void callsThatAFunctionMakesTellTheDepthAndEndWithItsTime() throws Exception {
    worker.offer("shout", call -> {
      try (MotetClient client = new MotetClient(server.address())) {
        client.get("run_1").get();
      }
      return null;
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").setDepth(3).setTimeLeft(Duration.newBuilder().setSeconds(100)).build());
    connection.hear(MessageCase.FAILURE);
    assertEquals("3", server.header(1, "motet-depth"));
    assertTrue(server.deadlines.get(1).orElseThrow().timeRemaining(TimeUnit.SECONDS) <= 100);
  }
}
