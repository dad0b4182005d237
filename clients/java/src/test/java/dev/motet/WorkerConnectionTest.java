package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.motet.v1.EngineDrain;
import dev.motet.v1.EngineMessage;
import dev.motet.v1.Heartbeat;
import dev.motet.v1.WorkerAgent;
import dev.motet.v1.WorkerMessage.MessageCase;
import io.grpc.Status;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** How a worker comes, stays and leaves. */
@Timeout(60)
class WorkerConnectionTest extends WorkerBench {
  @Test
  void saysWhoItIsAndWhatItOffersFirst() throws Exception {
    WorkerAgent shout = WorkerAgent.newBuilder().setName("shout").setCapacity(3).setReplaySafe(true).build();
    worker.capacity(4).offer(shout, call -> call.lease().getInput()).offer("echo", call -> call.lease().getInput());
    start();
    var hello = engine.next().welcome(1, SELDOM).getHello();
    assertEquals("w1", hello.getWorkerId());
    assertEquals(4, hello.getCapacity());
    assertEquals("motet-java/0.1.0", hello.getLibrary());
    assertEquals(List.of(shout, WorkerAgent.newBuilder().setName("echo").build()), hello.getAgentsList());
  }

  @Test
  void heartbeatsTellHowManyLeasesRun() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    worker.offer("shout", call -> {
      release.await();
      return call.lease().getInput();
    });
    start();
    FakeEngine.Connection connection = engine.next();
    connection.welcome(7, 2_000);
    connection.lease(lease("l1").build());
    assertEquals(1, connection.hear(MessageCase.HEARTBEAT).getHeartbeat().getRunning());
    release.countDown();
    connection.hear(MessageCase.REPLY);
  }

  @Test
  void aSilentEngineIsLeftAndTheFunctionsOfItsLeasesAreStopped() throws Exception {
    CountDownLatch stopped = new CountDownLatch(1);
    worker.offer("shout", call -> {
      try {
        new CountDownLatch(1).await();
      } finally {
        stopped.countDown();
      }
      return null;
    });
    start();
    FakeEngine.Connection connection = engine.next();
    connection.welcome(7, 50);
    connection.lease(lease("l1").build());
    assertEquals("ENGINE_SILENT", lost.take().reason());
    assertTrue(stopped.await(10, TimeUnit.SECONDS));
    assertEquals("w1", engine.next().welcome(8, SELDOM).getHello().getWorkerId());
  }

  @Test
  void itConnectsAgainWithTheSameIdWhenTheConnectionBreaks() throws Exception {
    worker.offer("shout", call -> call.lease().getInput());
    connect().fail(Status.UNAVAILABLE.withDescription("the engine is going away"));
    assertEquals(Status.Code.UNAVAILABLE, lost.take().code());
    FakeEngine.Connection connection = engine.next();
    assertEquals("w1", connection.welcome(8, SELDOM).getHello().getWorkerId());
    connection.end();
    engine.next().welcome(9, SELDOM);
  }

  @Test
  void itConnectsAgainWhenTheServerHasBeenAway() throws Exception {
    worker.offer("shout", call -> call.lease().getInput());
    connect();
    server = server.restart(engine);
    FakeEngine.Connection connection = engine.next();
    assertEquals("w1", connection.welcome(8, SELDOM).getHello().getWorkerId());
    connection.lease(lease("l1").build());
    connection.hear(MessageCase.REPLY);
  }

  @Test
  void itDoesNotComeBackWhereItIsRefused() throws Exception {
    worker.offer("shout", call -> call.lease().getInput());
    start();
    engine.next().fail(Status.FAILED_PRECONDITION.withDescription("no such agent"));
    MotetException refused = (MotetException) ended.get(10, TimeUnit.SECONDS);
    assertEquals(Status.Code.FAILED_PRECONDITION, refused.code());
  }

  @Test
  void aDrainedWorkerFinishesItsLeasesAndLeaves() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    worker.offer("shout", call -> {
      release.await();
      return call.lease().getInput();
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    worker.drain();
    connection.hear(MessageCase.DRAIN);
    release.countDown();
    connection.hear(MessageCase.REPLY);
    connection.end();
    assertNull(ended.get(10, TimeUnit.SECONDS));
  }

  @Test
  void aDrainedWorkerEndsTheStreamItselfWhenTheEngineDoesNot() throws Exception {
    worker.offer("shout", call -> call.lease().getInput());
    start();
    FakeEngine.Connection connection = engine.next();
    connection.welcome(7, 50);
    worker.drain();
    connection.hear(MessageCase.DRAIN);
    connection.hearTheEnd();
    assertNull(ended.get(10, TimeUnit.SECONDS)); // Also when the engine says nothing more.
  }

  @Test
  void aDrainingEngineIsLeftAndConnectedToAgain() throws Exception {
    worker.offer("shout", call -> call.lease().getInput());
    start();
    FakeEngine.Connection connection = engine.next();
    connection.welcome(7, 50);
    connection.say(EngineMessage.newBuilder().setDrain(EngineDrain.getDefaultInstance()).build());
    connection.say(EngineMessage.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build());
    connection.hearTheEnd();
    connection.end();
    engine.next().welcome(8, SELDOM);
  }

  @Test
  void interruptingItEndsAllLeasesAtOnce() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch stopped = new CountDownLatch(1);
    worker.offer("shout", call -> {
      begun.countDown();
      try {
        new CountDownLatch(1).await();
      } finally {
        stopped.countDown();
      }
      return null;
    });
    FakeEngine.Connection connection = connect();
    connection.lease(lease("l1").build());
    assertTrue(begun.await(10, TimeUnit.SECONDS));
    thread.interrupt();
    assertTrue(ended.get(10, TimeUnit.SECONDS) instanceof InterruptedException);
    assertEquals(0, stopped.getCount());
    connection.hearTheEnd();
  }
}
