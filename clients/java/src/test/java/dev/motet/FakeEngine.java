package dev.motet;

import com.google.protobuf.Duration;
import dev.motet.v1.CancelLease;
import dev.motet.v1.EngineMessage;
import dev.motet.v1.EngineWelcome;
import dev.motet.v1.Lease;
import dev.motet.v1.LeaseFailure;
import dev.motet.v1.WorkerMessage;
import dev.motet.v1.WorkerMessage.MessageCase;
import dev.motet.v1.WorkerServiceGrpc;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The engine's side of workers' connections, played by a test. */
final class FakeEngine extends WorkerServiceGrpc.WorkerServiceImplBase {
  private final BlockingQueue<Connection> connections = new LinkedBlockingQueue<>();

  @Override
  public StreamObserver<WorkerMessage> serve(StreamObserver<EngineMessage> answers) {
    Connection connection = new Connection(answers);
    connections.add(connection);
    return connection;
  }

  Connection next() throws InterruptedException {
    Connection connection = connections.poll(10, TimeUnit.SECONDS);
    if (connection == null) throw new AssertionError("no worker has connected");
    return connection;
  }

  /** One worker's connection. */
  static final class Connection implements StreamObserver<WorkerMessage> {
    private static final WorkerMessage END = WorkerMessage.getDefaultInstance();

    private final StreamObserver<EngineMessage> answers;
    private final BlockingQueue<WorkerMessage> heard = new LinkedBlockingQueue<>();

    Connection(StreamObserver<EngineMessage> answers) {
      this.answers = answers;
    }

    /** Takes the hello and welcomes the worker. */
    WorkerMessage welcome(long epoch, long intervalMillis) throws InterruptedException {
      WorkerMessage hello = hear(MessageCase.HELLO);
      Duration interval = Payloads.duration(java.time.Duration.ofMillis(intervalMillis));
      EngineWelcome welcome = EngineWelcome.newBuilder().setEpoch(epoch).setHeartbeatInterval(interval).build();
      answers.onNext(EngineMessage.newBuilder().setWelcome(welcome).build());
      return hello;
    }

    void lease(Lease lease) {
      answers.onNext(EngineMessage.newBuilder().setLease(lease).build());
    }

    void cancel(String leaseId, long epoch) {
      CancelLease order = CancelLease.newBuilder().setLeaseId(leaseId).setEpoch(epoch).setReason("DECIDED").build();
      answers.onNext(EngineMessage.newBuilder().setCancel(order).build());
    }

    void say(EngineMessage message) {
      answers.onNext(message);
    }

    void end() {
      answers.onCompleted();
    }

    void fail(Status why) {
      answers.onError(why.asRuntimeException());
    }

    /** The next message; it must be of this kind. Heartbeats are passed over unless they are asked for. */
    WorkerMessage hear(MessageCase kind) throws InterruptedException {
      while (true) {
        WorkerMessage message = heard.poll(10, TimeUnit.SECONDS);
        if (message == null) throw new AssertionError("waited in vain for " + kind);
        if (message.getMessageCase() == kind) return message;
        if (message.getMessageCase() != MessageCase.HEARTBEAT) throw new AssertionError("not " + kind + ": " + message);
      }
    }

    /** Null when the lease was answered with a reply. */
    LeaseFailure hearAnswer(int lease) throws InterruptedException {
      while (true) {
        WorkerMessage message = heard.poll(10, TimeUnit.SECONDS);
        if (message == null) throw new AssertionError("waited in vain for an answer");
        if (message.hasReply() && message.getReply().getLeaseId().equals("l" + lease)) return null;
        if (message.hasFailure()) return message.getFailure();
      }
    }

    void hearTheEnd() throws InterruptedException {
      hear(MessageCase.MESSAGE_NOT_SET);
    }

    @Override
    public void onNext(WorkerMessage message) {
      heard.add(message);
    }

    @Override
    public void onError(Throwable fault) {
      heard.add(END);
    }

    @Override
    public void onCompleted() {
      heard.add(END);
    }
  }
}
