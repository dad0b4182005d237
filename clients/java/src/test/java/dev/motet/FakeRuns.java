package dev.motet;

import dev.motet.v1.Event;
import dev.motet.v1.MapRunRequest;
import dev.motet.v1.MapRunResponse;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResponse;
import dev.motet.v1.RunResult;
import dev.motet.v1.RunServiceGrpc;
import dev.motet.v1.State;
import dev.motet.v1.StreamRunRequest;
import dev.motet.v1.StreamRunResponse;
import dev.motet.v1.WatchRunRequest;
import dev.motet.v1.WatchRunResponse;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;

/** A RunService that fails, and else answers, as a test says. */
final class FakeRuns extends RunServiceGrpc.RunServiceImplBase {
  static final RunResult DONE = RunResult.newBuilder().setRunId("run_1").setState(State.STATE_SUCCEEDED).build();

  /** What the next runs fail with, one each. */
  final Queue<RuntimeException> failures = new ConcurrentLinkedQueue<>();
  /** What the next watches do, one each. */
  final Queue<Consumer<ServerCallStreamObserver<WatchRunResponse>>> watches = new ConcurrentLinkedQueue<>();
  final List<WatchRunRequest> watched = new CopyOnWriteArrayList<>();
  /** Counted down when a call that waits was cancelled. */
  final CountDownLatch cancelled = new CountDownLatch(1);
  /** Counted down when a call waits. */
  final CountDownLatch waiting = new CountDownLatch(1);

  @Override
  public void run(RunRequest request, StreamObserver<RunResponse> answer) {
    RuntimeException failure = failures.poll();
    if (failure != null) {
      answer.onError(failure);
    } else if (request.getGroupName().equals("wait")) {
      ((ServerCallStreamObserver<RunResponse>) answer).setOnCancelHandler(cancelled::countDown);
      waiting.countDown();
    } else {
      answer.onNext(RunResponse.newBuilder().setResult(DONE).build());
      answer.onCompleted();
    }
  }

  @Override
  public void streamRun(StreamRunRequest request, StreamObserver<StreamRunResponse> answer) {
    ((ServerCallStreamObserver<StreamRunResponse>) answer).setOnCancelHandler(cancelled::countDown);
    answer.onNext(StreamRunResponse.newBuilder().addEvents(event(1)).addEvents(event(2)).build());
    if (request.getRequest().getGroupName().equals("break")) {
      answer.onError(Status.UNAVAILABLE.asRuntimeException());
    } else if (!request.getRequest().getGroupName().equals("wait")) {
      answer.onNext(StreamRunResponse.newBuilder().addEvents(event(3)).setResult(DONE).build());
      answer.onCompleted();
    }
  }

  @Override
  public void watchRun(WatchRunRequest request, StreamObserver<WatchRunResponse> answer) {
    watched.add(request);
    watches.remove().accept((ServerCallStreamObserver<WatchRunResponse>) answer);
  }

  /** Answers each input at once with itself; an empty one ends the stream too early. */
  @Override
  public StreamObserver<MapRunRequest> mapRun(StreamObserver<MapRunResponse> answers) {
    return new StreamObserver<>() {
      private long index;
      private boolean over;

      @Override
      public void onNext(MapRunRequest message) {
        if (!message.hasInput()) return;
        if (message.getInput().getInput().getText().isEmpty()) {
          answers.onCompleted();
          over = true;
          return;
        }
        RunResult result = DONE.toBuilder().setOutput(message.getInput().getInput()).build();
        String id = message.getInput().getId();
        answers.onNext(MapRunResponse.newBuilder().setIndex(index++).setId(id).setResult(result).build());
      }

      @Override
      public void onError(Throwable fault) {
        cancelled.countDown();
      }

      @Override
      public void onCompleted() {
        if (!over) answers.onCompleted();
      }
    };
  }

  static Event event(long sequence) {
    return Event.newBuilder().setSequence(sequence).build();
  }

  /** Events from one number to another, in one message. */
  static WatchRunResponse events(long first, long last) {
    WatchRunResponse.Builder message = WatchRunResponse.newBuilder().setRunId("run_1");
    for (long sequence = first; sequence <= last; sequence++) message.addEvents(event(sequence));
    return message.build();
  }
}
