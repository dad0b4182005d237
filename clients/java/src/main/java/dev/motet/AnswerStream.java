package dev.motet;

import dev.motet.v1.MapInput;
import dev.motet.v1.MapOpen;
import dev.motet.v1.MapRunRequest;
import dev.motet.v1.MapRunResponse;
import dev.motet.v1.RunServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.util.Iterator;
import java.util.List;

/** One run for each input. Inputs are read as the server takes them, answers as the subscriber does. */
final class AnswerStream extends MotetStream<MapRunResponse, Long> {
  private final Context caller = Context.current();
  private final ManagedChannel channel;
  private final CallOptions options;
  private final MapOpen open;
  private final Iterable<MapInput> given;
  private Iterator<MapInput> inputs;
  private Ear<MapRunRequest, MapRunResponse> ear;
  private long missing = 1; // Answers; one more while inputs are still to come.
  private long answered;

  AnswerStream(ManagedChannel channel, CallOptions options, MapOpen open, Iterable<MapInput> inputs) {
    this.channel = channel;
    this.options = options;
    this.open = open;
    this.given = inputs;
  }

  @Override
  void fetch() {
    if (ear == null) {
      inputs = given.iterator();
      ear = new Ear<>(this::take, this::over, this::send);
      caller.run(() -> ClientCalls.asyncBidiStreamingCall(
          channel.newCall(RunServiceGrpc.getMapRunMethod(), options), ear));
      ear.call.onNext(MapRunRequest.newBuilder().setOpen(open).build());
    }
    ear.call.request(1);
  }

  @Override
  void stop() {
    if (ear != null) ear.cancel();
  }

  private void send() {
    while (inputs != null && ear.call.isReady()) {
      if (!inputs.hasNext()) {
        inputs = null;
        missing--;
        ear.call.onCompleted();
        return;
      }
      missing++;
      ear.call.onNext(MapRunRequest.newBuilder().setInput(inputs.next()).build());
    }
  }

  private void take(MapRunResponse answer) {
    missing--;
    answered++;
    give(List.of(answer));
  }

  private void over(MotetException failure) {
    inputs = null;
    if (failure == null && missing == 0) {
      end(List.of(), answered);
      return;
    }
    String text = "the server left inputs without answers";
    fail(failure == null ? new MotetException(Status.Code.INTERNAL, "STREAM_ENDED", text, null) : failure);
  }
}
