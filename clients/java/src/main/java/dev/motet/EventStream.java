package dev.motet;

import dev.motet.v1.Event;
import dev.motet.v1.RunResult;
import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.LongFunction;

/**
 * A run's events, and how a watch comes back after a broken connection. Each event comes out once and in order: what
 * was seen is dropped, and what is missing breaks the connection, so that a new one asks for it.
 */
final class EventStream<Q, A> extends MotetStream<Event, RunResult> {
  /** Connections in a row that bring nothing new before a watch gives up: about half a minute. */
  private static final int MOST_TRIES = 10;

  private final Context caller = Context.current();
  private final ManagedChannel channel;
  private final CallOptions options;
  private final Way<Q, A> way;
  private long last;
  private int most;
  private int tries = 1;
  private Ear<Q, A> ear;

  /** What a message brings: events, and in the last one a result. */
  record Part(List<Event> events, RunResult result) {}

  /** A method that brings events. The request is for those after a sequence number. */
  record Way<Q, A>(MethodDescriptor<Q, A> method, LongFunction<Q> request, Function<A, Part> read) {}

  /** Comes back or not: a call that starts a run would start another one. */
  EventStream(ManagedChannel channel, CallOptions options, Way<Q, A> way, long after, boolean comesBack) {
    this.channel = channel;
    this.options = options;
    this.way = way;
    this.last = after;
    this.most = comesBack ? Patience.TRIES : 1;
  }

  @Override
  void fetch() {
    if (ear == null) {
      ear = new Ear<>(message -> take(way.read.apply(message)), this::broken, () -> {});
      caller.run(() -> ClientCalls.asyncServerStreamingCall(
          channel.newCall(way.method, options), way.request.apply(last), ear));
    }
    ear.call.request(1);
  }

  @Override
  void stop() {
    if (ear != null) ear.cancel();
  }

  private void take(Part part) {
    if (most > 1) most = MOST_TRIES;
    List<Event> fresh = new ArrayList<>();
    for (Event event : part.events()) {
      if (event.getSequence() > last + 1) {
        give(fresh); // What came whole is handed out first.
        String text = "the server sent event " + event.getSequence() + " after event " + last;
        broken(new MotetException(Status.Code.INTERNAL, "EVENT_GAP", text, null));
        return;
      }
      if (event.getSequence() == last + 1) {
        last++;
        tries = 1;
        fresh.add(event);
      }
    }
    if (part.result() == null) {
      give(fresh);
    } else {
      end(fresh, part.result());
    }
  }

  private void broken(MotetException told) {
    MotetException why = told == null ? early() : told;
    ear.cancel();
    if (tries >= most || channel.isShutdown() || caller.isCancelled() || !isConnection(why)) {
      fail(why);
      return;
    }
    ear = null;
    if (!wantsMore()) return; // It connects when somebody asks for the next event.
    Patience.later(Patience.delay(tries++, why), turn, () -> {
      if (ear != null || result().isDone()) return;
      channel.resetConnectBackoff();
      fetch();
    });
  }

  private static MotetException early() {
    String text = "the server ended the stream before the run's result";
    return new MotetException(Status.Code.UNAVAILABLE, "STREAM_ENDED", text, null);
  }

  /** Also what nobody asked for and no server gave a reason of. */
  private static boolean isConnection(MotetException why) {
    boolean bare = why.reason().equals(why.code().name());
    return why.code() == Status.Code.UNAVAILABLE
        || why.reason().equals("EVENT_GAP")
        || bare && (why.code() == Status.Code.CANCELLED || why.getMessage().contains("RST_STREAM"));
  }
}
